"""Single sign-on against a real provider process (rest-api.md 3.4)."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from httpx import Client, Response
from sqlalchemy import text

from backend.app import create_app
from backend.node import Node
from backend.settings import Settings
from tests.integration.backend.access.oidc_provider import CLIENT, SECRET
from tests.integration.backend.conftest import serving

ROOT = Path(__file__).parents[4]
PAGE = "http://ui.hospital.test/plans"
CALLBACK = "/org-1/oidc/callback/"
LAPSED = (
    "You are an OIDC user but haven't authenticated in too long a time, "
    "connect to the frontend to refresh your access."
)
Started = Callable[..., tuple[Client, Node]]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A running provider."""
    command = [sys.executable, "-m", "tests.integration.backend.access.oidc_provider"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline().strip()
        assert line.startswith("http://")
        yield line
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


@pytest.fixture
def provider(address: str) -> Iterator[Client]:
    """The provider's control, with alice signing on and nothing wrong."""
    with httpx.Client(base_url=address, timeout=30) as control:
        say(control, sub="subject-1", email="alice@hospital.test")
        yield control


def say(provider: Client, **said: str) -> dict[str, Any]:
    """Who signs on next, what goes wrong; answers what the provider saw so far."""
    answer: dict[str, Any] = provider.put("/control", json=said).json()
    return answer


@pytest.fixture
def start(settings: Settings, provider: Client) -> Iterator[Started]:
    """`start(NAME=value)`: the application with single sign-on, and its node."""
    with ExitStack() as stack:

        def started(**changes: Any) -> tuple[Client, Node]:
            policy = (
                {}
                if changes.get("OIDC_USERS_MUST_BE_APPROVED")
                else {"OIDC_USERS_DEFAULT_CHANNEL": "mychannel"}
            )
            content = {
                **settings.model_dump(),
                "OIDC_ENABLED": True,
                "OIDC_RP_CLIENT_ID": CLIENT,
                "OIDC_RP_CLIENT_SECRET": SECRET,
                "OIDC_OP_URL": str(provider.base_url),
                "OIDC_OP_DISPLAY_NAME": "Test provider",
                "OIDC_TIMEOUT": 10,
                "COMMON_HOST_DOMAIN": None,
                "CORS_ORIGIN_WHITELIST": ["http://ui.hospital.test"],
                **policy,
                **changes,
            }
            made = Settings(**content)
            node = Node.build(made)
            stack.callback(node.close)
            return stack.enter_context(serving(create_app(made, node))), node

        yield started


def sign_on(browser: Client, next_address: str = PAGE) -> Response:
    """The whole way, as a browser goes it; the answer is the callback's."""
    begun = browser.get("/org-1/oidc/authenticate/", params={"next": next_address})
    assert begun.status_code == 302, begun.text
    vouched = browser.get(begun.headers["Location"])
    assert vouched.status_code == 302, vouched.text
    return browser.get(vouched.headers["Location"])


def access(browser: Client) -> dict[str, str]:
    return {"Authorization": f"JWT {browser.cookies['header.payload']}"}


def info(browser: Client) -> Response:
    return browser.get("/org-1/info/", headers=access(browser))


def lapse(node: Node) -> None:
    with node.database.transaction() as session:
        query = "UPDATE user_oidc_info SET valid_until = now() - interval '1 second'"
        session.connection().execute(text(query))


def one(node: Node, query: str) -> Any:
    with node.database.reading() as connection:
        return connection.execute(text(query)).scalar_one()


def test_info_names_the_provider(start: Started) -> None:
    browser, _ = start()
    expected = {"oidc": {"name": "Test provider", "login_url": "/oidc/authenticate/"}}
    assert browser.get("/org-1/info/").json()["auth"] == expected


def test_without_single_sign_on_its_routes_are_not_there(client: Client) -> None:
    for path in ("authenticate", "callback", "logout"):
        assert client.get(f"/org-1/oidc/{path}/").status_code == 404


def test_first_sign_on_makes_a_user_of_the_default_channel(
    start: Started, provider: Client
) -> None:
    browser, node = start()
    answer = sign_on(browser)
    assert (answer.status_code, answer.headers["Location"]) == (302, PAGE)
    assert {"header.payload", "signature", "refresh"} <= set(browser.cookies)
    assert "oidc_attempt" not in browser.cookies
    known = info(browser).json()
    assert (known["user"], known["user_role"], known["channel"]) == ("alice", "USER", "mychannel")
    shown = browser.get("/org-1/users/alice/", headers=access(browser)).json()
    assert shown["is_external_user"] is True
    asked = say(provider)["authorization"]
    assert asked["scope"] == "openid email"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{browser.base_url}{CALLBACK}"
    assert len(asked["state"]) >= 40
    assert len(asked["nonce"]) >= 40
    sign_on(browser)
    assert one(node, "SELECT count(*) FROM user_oidc_info") == 1
    assert one(node, "SELECT email FROM \"user\" WHERE username = 'alice'") == "alice@hospital.test"


def test_single_sign_on_users_have_no_password(start: Started) -> None:
    browser, _ = start()
    sign_on(browser)
    for password in ("", "x"):
        fields = {"username": "alice", "password": password}
        assert browser.post("/org-1/api-token-auth/", data=fields).status_code == 400


def test_namesakes_are_numbered_and_accents_dropped(start: Started, provider: Client) -> None:
    browser, node = start()
    for subject, email in (
        ("a", "Zoé.Müller@one.test"),
        ("b", "zoe-muller@two.test"),
        ("c", "zoe_muller@three.test"),
        ("d", ""),
    ):
        say(provider, sub=subject, email=email)
        assert sign_on(browser).headers["Location"] == PAGE
    with node.database.reading() as connection:
        query = 'SELECT u.username FROM "user" u JOIN user_oidc_info ON user_id = u.id ORDER BY id'
        names = list(connection.execute(text(query)).scalars())
    assert names[:3] == ["zoe-muller", "zoe-muller-2", "zoe-muller-3"]
    assert len(names[3]) == 43


def test_email_comes_from_the_user_endpoint_when_the_token_has_none(
    start: Started, provider: Client
) -> None:
    browser, _ = start(OIDC_USERS_APPEND_DOMAIN=True)
    say(provider, sub="x", email="carol@care.hospital.test", wrong="no email")
    sign_on(browser)
    assert info(browser).json()["user"] == "carol-care-hospital"


def test_new_users_wait_for_approval_when_the_settings_say_so(start: Started) -> None:
    browser, _ = start(OIDC_USERS_MUST_BE_APPROVED=True)
    sign_on(browser)
    assert info(browser).status_code == 400
    fields = {"username": "org-1", "password": "p@sswr0d44"}
    token = browser.post("/org-1/api-token-auth/", data=fields).json()["token"]
    admin = {"Authorization": f"Token {token}"}
    waiting = browser.get("/org-1/users-awaiting-approval/", headers=admin).json()["results"]
    assert waiting == [{"username": "alice", "email": "alice@hospital.test"}]
    url = "/org-1/users-awaiting-approval/?username=alice"
    assert browser.put(url, json={"role": "USER"}, headers=admin).json()["is_external_user"]
    assert info(browser).json()["user"] == "alice"


@pytest.mark.parametrize(
    "wrong",
    [
        "issuer",
        "audience",
        "expiry",
        "nonce",
        "key",
        "algorithm none",
        "algorithm HS256",
        "denied",
        "down",
    ],
)
def test_what_must_not_be_believed_gives_no_session(
    start: Started, provider: Client, wrong: str
) -> None:
    browser, node = start()
    say(provider, wrong=wrong)
    answer = sign_on(browser)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert "refresh" not in browser.cookies
    assert one(node, "SELECT count(*) FROM user_oidc_info") == 0


def test_a_callback_needs_the_browser_that_began(start: Started) -> None:
    browser, _ = start()
    begun = browser.get("/org-1/oidc/authenticate/")
    location = browser.get(begun.headers["Location"]).headers["Location"]
    sealed = browser.cookies["oidc_attempt"]
    with httpx.Client(base_url=browser.base_url) as another:
        for cookie in ("", "oidc_attempt=garbage", f"oidc_attempt={sealed[:-4]}AAAA"):
            answer = another.get(location, headers={"Cookie": cookie})
            assert answer.headers["Location"] == "/"
            assert "refresh" not in another.cookies
        state = parse_qs(urlsplit(location).query)["state"][0]
        mixed = location.replace(state, "x" * len(state))
        assert (
            another.get(mixed, headers={"Cookie": f"oidc_attempt={sealed}"}).cookies.get("refresh")
            is None
        )
    assert browser.get(location).headers["Location"] == "/"
    assert "refresh" in browser.cookies
    replayed = httpx.get(location, headers={"Cookie": f"oidc_attempt={sealed}"})
    assert "refresh" not in replayed.cookies, "the provider takes a code once"


@pytest.mark.parametrize(
    ("next_address", "followed"),
    [
        ("http://ui.hospital.test/a?b=c", True),
        ("https://deep.common.test/", True),
        ("https://common.test/", True),
        ("https://evilcommon.test/", False),
        ("https://common.test.evil.example/", False),
        ("https://common.test@evil.example/", False),
        ("https://evil.example\\@common.test/", False),
        ("javascript:alert(1)//common.test", False),
        ("//common.test", False),
        ("http://[broken", False),
        ("", False),
    ],
)
def test_next_leads_to_our_own_pages_only(
    start: Started, next_address: str, followed: bool
) -> None:
    browser, _ = start(COMMON_HOST_DOMAIN="common.test")
    answer = sign_on(browser, next_address)
    assert answer.headers["Location"] == (next_address if followed else "/")


def test_lapsed_without_refresh_token_is_403_everywhere(start: Started) -> None:
    browser, node = start()
    sign_on(browser)
    headers = access(browser)
    fields = {"expires_at": "2099-01-01"}
    token = browser.post("/org-1/api-token/", json=fields, headers=headers).json()["token"]
    lapse(node)
    for credentials in (headers, {"Authorization": f"Token {token}"}):
        for path in ("/org-1/info/", "/org-1/organization/", "/org-1/model/"):
            answer = browser.get(path, headers=credentials)
            assert (answer.status_code, answer.json()) == (403, {"detail": LAPSED})
    sign_on(browser)
    again = browser.get("/org-1/organization/", headers={"Authorization": f"Token {token}"})
    assert again.status_code == 200


def test_lapsed_with_refresh_token_is_renewed_once_for_all_who_ask(
    start: Started, provider: Client
) -> None:
    browser, node = start(OIDC_USERS_USE_REFRESH_TOKEN=True)
    sign_on(browser)
    before = say(provider)
    assert before["authorization"]["scope"] == "openid email offline_access"
    stored = one(node, "SELECT refresh_token FROM user_oidc_info")
    assert stored.startswith("gAAAA"), "encrypted at rest"
    headers = {
        **access(browser),
        "Cookie": f"signature={browser.cookies['signature']}",
    }
    url = f"{browser.base_url}/org-1/organization/"
    for number in (
        1,
        2,
    ):  # the provider's refresh tokens work once, so the second shows the rotation
        lapse(node)
        with ThreadPoolExecutor(6) as pool:
            answers = list(
                pool.map(lambda _: httpx.get(url, headers=headers, timeout=60), range(6))
            )
        assert [answer.status_code for answer in answers] == [200] * 6
        assert say(provider)["refreshes"] == before["refreshes"] + number


@pytest.mark.parametrize("wrong", ["revoked", "subject", "key"])
def test_user_whom_the_provider_no_longer_knows_is_out(
    start: Started, provider: Client, wrong: str
) -> None:
    browser, node = start(OIDC_USERS_USE_REFRESH_TOKEN=True)
    sign_on(browser)
    lapse(node)
    say(provider, wrong=wrong)
    assert info(browser).status_code == 403
    assert one(node, "SELECT refresh_token FROM user_oidc_info") is None
    say(provider)
    assert info(browser).json() == {"detail": LAPSED}, "only a new sign-on helps"
    sign_on(browser)
    assert info(browser).status_code == 200


def test_provider_that_is_down_is_503_and_forgets_nobody(start: Started, provider: Client) -> None:
    browser, node = start(OIDC_USERS_USE_REFRESH_TOKEN=True)
    sign_on(browser)
    lapse(node)
    say(provider, wrong="down")
    answer = info(browser)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    say(provider)
    assert info(browser).status_code == 200


def test_provider_that_cannot_be_reached_begins_nothing(start: Started) -> None:
    browser, _ = start(OIDC_OP_URL="http://127.0.0.1:9")
    assert browser.get("/org-1/oidc/authenticate/").status_code == 503


def test_new_key_of_the_provider_is_found(start: Started, provider: Client) -> None:
    browser, node = start()
    sign_on(browser)
    provider.post("/rotate")
    node.provider._keys = (node.provider._keys[0] - 60, node.provider._keys[1])  # type: ignore[index]
    assert sign_on(browser).headers["Location"] == PAGE


def test_inactive_user_is_not_let_in_by_the_provider(start: Started) -> None:
    browser, node = start()
    sign_on(browser)
    with node.database.transaction() as session:
        session.connection().execute(
            text("UPDATE \"user\" SET active = false WHERE username = 'alice'")
        )
    browser.cookies.clear()
    assert sign_on(browser).headers["Location"] == "/"
    assert "refresh" not in browser.cookies


def test_log_out_ends_the_session_here(start: Started) -> None:
    browser, _ = start()
    sign_on(browser)
    refresh = browser.cookies["refresh"]
    answer = browser.get("/org-1/oidc/logout/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert not browser.cookies
    again = browser.post("/org-1/me/refresh/", headers={"Cookie": f"refresh={refresh}"})
    assert again.status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"OIDC_USERS_DEFAULT_CHANNEL": "mychannel", "OIDC_USERS_MUST_BE_APPROVED": True},
        {"OIDC_USERS_DEFAULT_CHANNEL": "mychannel", "OIDC_OP_URL": ""},
    ],
)
def test_settings_without_one_clear_policy_are_refused(changes: dict[str, Any]) -> None:
    given = {"OIDC_ENABLED": True, "OIDC_OP_URL": "http://op.test", "OIDC_RP_CLIENT_ID": "x"}
    with pytest.raises(ValueError, match="OIDC_"):
        Settings(**{**given, **changes})
