"""The front end's session: cookies, rotation, black list (rest-api.md 3.1)."""

from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie

import httpx
import jwt
import pytest
from httpx import Client, Response
from sqlalchemy import text

from backend.app import create_app
from backend.node import Node
from backend.settings import Settings
from tests.integration.backend.conftest import PASSWORD, serving

NAMES = {"header.payload", "signature", "refresh"}


def cookies_of(answer: Response) -> SimpleCookie:
    """All Set-Cookie headers, parsed; httpx's jar would lose their attributes."""
    parsed = SimpleCookie()
    for header in answer.headers.get_list("set-cookie"):
        parsed.load(header)
    return parsed


def log_in(client: Client, password: str = PASSWORD) -> Response:
    fields = {"username": "org-1", "password": password}
    return client.post("/org-1/me/login/?format=json", json=fields)


def access(client: Client) -> dict[str, str]:
    """What the page sends: the readable cookie as a header; the browser adds the other cookies."""
    return {"Authorization": f"JWT {client.cookies['header.payload']}"}


@pytest.fixture
def browser(client: Client) -> Client:
    """A client that logged in as `org-1` and keeps its cookies."""
    assert log_in(client).status_code == 200
    return client


def test_log_in_answers_the_claims_and_sets_three_cookies(client: Client) -> None:
    answer = log_in(client)
    claims = answer.json()
    assert set(claims) == {"token_type", "exp", "iat", "jti", "user_id"}
    assert claims["token_type"] == "access"
    assert claims["exp"] - claims["iat"] == 24 * 3600
    cookies = cookies_of(answer)
    assert set(cookies) == NAMES
    whole = f"{cookies['header.payload'].value}.{cookies['signature'].value}"
    assert jwt.decode(whole, "k" * 50, algorithms=["HS256"]) == claims
    for name, cookie in cookies.items():
        assert cookie["path"] == "/"
        assert bool(cookie["httponly"]) == (name != "header.payload")
        assert cookie["expires"]
        assert cookie["samesite"] == cookie["domain"] == ""
        assert not cookie["secure"]
    assert int(cookies["refresh"]["max-age"]) == 7 * 24 * 3600


def test_form_log_in_and_its_errors(client: Client) -> None:
    url = "/org-1/me/login/"
    assert client.post(url, data={"username": "org-1", "password": PASSWORD}).status_code == 200
    missing = client.post(url, json={"username": "org-1"})
    assert (missing.status_code, missing.json()) == (
        400,
        {"password": ["This field is required."]},
    )
    wrong = log_in(client, "wrong")
    detail = "No active account found with the given credentials"
    assert (wrong.status_code, wrong.json()) == (401, {"detail": detail})
    assert wrong.headers["WWW-Authenticate"] == 'JWT realm="api"'
    assert not cookies_of(wrong)


def test_the_pair_of_header_and_cookie_opens_the_door(browser: Client) -> None:
    url = "/org-1/organization/"
    assert browser.get(url, headers=access(browser)).json() == []
    info = browser.get("/org-1/info/", headers=access(browser)).json()
    assert info["user"] == "org-1"
    headers = access(browser)
    browser.cookies.delete("signature")
    alone = browser.get(url, headers=headers)
    assert alone.status_code == 401
    assert alone.json() == {"detail": "Authentication credentials were not provided."}


@pytest.mark.parametrize("broken", ["signature", "header", "kind"])
def test_a_broken_session_is_refused_in_words_that_the_front_end_knows(
    browser: Client, broken: str
) -> None:
    headers = access(browser)
    signature = browser.cookies["signature"]
    if broken == "signature":
        signature = signature[::-1]
    elif broken == "header":
        headers = {"Authorization": "JWT a.b"}
    else:  # a refresh token is no access token
        head, _, signature = browser.cookies["refresh"].rpartition(".")
        headers = {"Authorization": f"JWT {head}"}
    browser.cookies.clear()
    cookie = {"Cookie": f"signature={signature}"}
    answer = browser.get("/org-1/organization/", headers={**headers, **cookie})
    assert answer.status_code == 401
    assert answer.json() == {
        "detail": "Given token not valid for any token type",
        "code": "token_not_valid",
        "messages": [
            {
                "token_class": "AccessToken",
                "token_type": "access",
                "message": "Token is invalid or expired",
            }
        ],
    }


def test_refresh_rotates_and_the_spent_token_is_refused(browser: Client) -> None:
    spent = browser.cookies["refresh"]
    answer = browser.post("/org-1/me/refresh/")
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "access"
    assert set(cookies_of(answer)) == NAMES
    assert browser.cookies["refresh"] != spent
    assert browser.get("/org-1/organization/", headers=access(browser)).status_code == 200
    browser.cookies.clear()
    again = browser.post("/org-1/me/refresh/", headers={"Cookie": f"refresh={spent}"})
    body = {"detail": "Token is blacklisted", "code": "token_not_valid"}
    assert (again.status_code, again.json()) == (401, body)


def test_refresh_without_or_with_a_useless_cookie(client: Client) -> None:
    without = client.post("/org-1/me/refresh/")
    body = {"non_field_errors": ["refresh cookie is not present"]}
    assert (without.status_code, without.json()) == (400, body)
    garbage = client.post("/org-1/me/refresh/", headers={"Cookie": "refresh=a.b.c"})
    expected = {"detail": "Token is invalid or expired", "code": "token_not_valid"}
    assert (garbage.status_code, garbage.json()) == (401, expected)


def test_of_refreshes_that_race_one_wins(browser: Client) -> None:
    headers = {"Cookie": f"refresh={browser.cookies['refresh']}"}
    url = f"{browser.base_url}/org-1/me/refresh/"
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: httpx.post(url, headers=headers).status_code, range(8))
    assert sorted(answers) == [200, *[401] * 7]


def test_stale_credentials_do_not_keep_their_owner_out(browser: Client) -> None:
    stale = {"Authorization": "JWT a.b"}
    fields = {"username": "org-1", "password": PASSWORD}
    assert browser.post("/org-1/me/login/", json=fields, headers=stale).status_code == 200
    assert browser.post("/org-1/me/refresh/", headers=stale).status_code == 200


def test_log_out_clears_the_cookies_and_spends_the_token(browser: Client) -> None:
    refresh = browser.cookies["refresh"]
    answer = browser.get("/org-1/me/logout/")
    assert (answer.status_code, answer.json()) == (200, {})
    cookies = cookies_of(answer)
    assert set(cookies) == NAMES
    for cookie in cookies.values():
        assert cookie["max-age"] == "0"
        assert cookie["expires"] == "Thu, 01 Jan 1970 00:00:00 GMT"
        assert cookie["path"] == "/"
    assert not browser.cookies
    again = browser.post("/org-1/me/refresh/", headers={"Cookie": f"refresh={refresh}"})
    assert again.json()["detail"] == "Token is blacklisted"


@pytest.mark.parametrize("cookie", ["", "refresh=garbage", "refresh=a.b.c"])
def test_log_out_without_a_session_is_fine(client: Client, cookie: str) -> None:
    assert client.get("/org-1/me/logout/", headers={"Cookie": cookie}).status_code == 200


def test_user_without_channel_may_log_in_but_sees_nothing(client: Client, node: Node) -> None:
    with node.database.transaction() as session:
        session.connection().execute(text("DELETE FROM user_channel"))
    assert log_in(client).status_code == 200
    assert client.get("/org-1/organization/", headers=access(client)).status_code == 403
    assert client.get("/org-1/info/", headers=access(client)).status_code == 400


def test_inactive_user_has_no_session(browser: Client, node: Node) -> None:
    with node.database.transaction() as session:
        session.connection().execute(text('UPDATE "user" SET active = false'))
    answer = browser.get("/org-1/organization/", headers=access(browser))
    assert (answer.status_code, answer.json()) == (401, {"detail": "User inactive or deleted."})
    assert browser.post("/org-1/me/refresh/").status_code == 401
    assert log_in(browser).status_code == 401


def test_cookies_follow_the_scheme_and_the_domain(settings: Settings, node: Node) -> None:
    behind_tls = settings.model_copy(
        update={"COMMON_HOST_DOMAIN": "hospital.test", "TRUSTED_PROXIES": 1}
    )
    fields = {"username": "org-1", "password": PASSWORD}
    built = Node.build(behind_tls)
    with serving(create_app(behind_tls, built)) as client:
        secure = client.post(
            "/org-1/me/login/", json=fields, headers={"X-Forwarded-Proto": "https"}
        )
        plain = client.post("/org-1/me/login/", json=fields)
    built.close()
    assert all(cookie["secure"] for cookie in cookies_of(secure).values())
    assert all(cookie["domain"] == "hospital.test" for cookie in cookies_of(secure).values())
    assert not any(cookie["secure"] for cookie in cookies_of(plain).values())


def test_a_header_of_the_caller_does_not_make_cookies_secure(client: Client) -> None:
    fields = {"username": "org-1", "password": PASSWORD}
    answer = client.post("/org-1/me/login/", json=fields, headers={"X-Forwarded-Proto": "https"})
    assert not any(cookie["secure"] for cookie in cookies_of(answer).values())
