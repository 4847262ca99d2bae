"""The front end's calls in their order, over HTTP: session, CORS, refresh, polling, download (rest-api.md 23).

The same in a real browser: `make browser-test`.
"""

import httpx
import pytest

from backend.fixtures.writing import write_sample
from backend.node import Node
from tests.integration.backend.conftest import PASSWORD

ORIGIN = "http://frontend.test"
REQUESTED = "accept,authorization,content-type"


class Tab:
    """What a browser does with one page's requests: cookies, origin, and the JWT header from a cookie."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.client.headers["Origin"] = ORIGIN

    def send(self, method: str, path: str, **content: object) -> httpx.Response:
        header_payload = self.client.cookies.get("header.payload")
        headers = {"Authorization": f"JWT {header_payload}"} if header_payload else {}
        url = path if path.startswith("http") else f"/org-1{path}"
        answer = self.client.request(method, url, headers=headers, **content)  # type: ignore[arg-type]
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN, path
        assert answer.headers["Access-Control-Allow-Credentials"] == "true", path
        return answer

    def get(self, path: str) -> httpx.Response:
        """A GET that is answered 401 is repeated once, after a refresh."""
        answer = self.send("GET", path)
        if answer.status_code == 401 and self.send("POST", "/me/refresh/").status_code == 200:
            return self.send("GET", path)
        return answer


@pytest.fixture
def tab(client: httpx.Client, node: Node) -> Tab:
    """A browser's tab on an organization with plans in every state."""
    write_sample(node, "mychannel", "org-1")
    return Tab(client)


def _log_in(tab: Tab) -> None:
    names = {"username": "org-1", "password": PASSWORD}
    answer = tab.send("POST", "/me/login/?format=json", json=names)
    assert answer.status_code == 200, answer.text
    assert {"header.payload", "signature", "refresh"} == set(tab.client.cookies)


def test_start_without_a_session_leads_to_the_log_in(tab: Tab) -> None:
    anonymous = tab.client.get("/org-1/info/", headers={"Accept": "application/json;version=0.0"})
    assert anonymous.json()["organization_id"] == "MyOrg1MSP"
    assert "channel" not in anonymous.json()
    assert tab.send("POST", "/me/refresh/").status_code == 400
    wrong = tab.send("POST", "/me/login/", json={"username": "org-1", "password": "wrong"})
    assert wrong.status_code == 401
    assert wrong.json()["detail"] == "No active account found with the given credentials"
    _log_in(tab)
    for path in ("/organization/", "/info/", "/compute_plan_metadata/"):
        assert tab.get(path).status_code == 200, path


def test_preflight_is_answered_before_authentication(tab: Tab) -> None:
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": REQUESTED,
    }
    answer = tab.client.options("/org-1/me/login/", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Access-Control-Max-Age"] == "86400"
    stranger = tab.client.options(
        "/org-1/me/login/", headers={**headers, "Origin": "http://elsewhere.test"}
    )
    assert "Access-Control-Allow-Origin" not in stranger.headers


def test_expired_access_is_refreshed_once_and_reading_goes_on(tab: Tab) -> None:
    _log_in(tab)
    before = dict(tab.client.cookies)
    tab.client.cookies.delete("header.payload")
    page = tab.get("/news_feed/?important_news_only=true&page=1&page_size=10")
    assert page.status_code == 200
    assert page.json()["count"] > 0
    after = dict(tab.client.cookies)
    assert all(after[name] != before[name] for name in before)
    tab.client.cookies.set("refresh", before["refresh"], domain="127.0.0.1", path="/")
    again = tab.send("POST", "/me/refresh/")
    assert (again.status_code, again.json()["code"]) == (401, "token_not_valid")


def test_polling_counts_only(tab: Tab) -> None:
    _log_in(tab)
    page = tab.get("/news_feed/?important_news_only=true&page=1&page_size=0").json()
    assert page["count"] == len(page["results"])
    later = tab.get("/news_feed/?timestamp_after=2099-01-01T00:00:00Z&page_size=0").json()
    assert later["count"] == 0


def test_log_of_a_failed_task_is_downloaded(tab: Tab) -> None:
    _log_in(tab)
    failed = tab.get("/task/?status=STATUS_FAILED&page_size=30").json()["results"]
    answers = [tab.get(f"/task/{task['key']}/logs/") for task in failed]
    answer = next(answer for answer in answers if answer.status_code == 200)
    assert answer.text.startswith("Traceback")
    assert answer.headers["Access-Control-Expose-Headers"] == "Content-Disposition"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")


def test_errors_and_redirects_can_be_read_by_the_page(tab: Tab) -> None:
    assert tab.send("GET", "/compute_plan/").status_code == 401
    assert tab.send("GET", "/no_such_route/").status_code == 404
    assert tab.send("GET", "/compute_plan").status_code == 301


def test_after_the_log_out_nothing_is_left(tab: Tab) -> None:
    _log_in(tab)
    refresh = tab.client.cookies["refresh"]
    assert tab.send("GET", "/me/logout/").status_code == 200
    assert dict(tab.client.cookies) == {}
    tab.client.cookies.set("refresh", refresh, domain="127.0.0.1", path="/")
    assert tab.send("POST", "/me/refresh/").status_code == 401
