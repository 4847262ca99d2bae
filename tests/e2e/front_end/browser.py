"""A real headless Chromium logs in, reads, polls, downloads and logs out: `make browser-test`.

Not part of `make test`, for it needs a Chromium on the machine and fails without one. The same calls without a
browser are in tests/integration/backend/test_front_end.py.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from network.ports import free_port

PAGE = Path(__file__).with_name("page")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "No Chromium: install one (Debian: apt-get install chromium), or name it in SUBSTRA_RAY_CHROMIUM."
WAIT_MS = 20_000
PERMISSION = {"public": True, "authorized_ids": []}


def _chromium() -> str:
    given = os.environ.get("SUBSTRA_RAY_CHROMIUM")
    found = given or next(filter(None, map(shutil.which, NAMES)), None)
    assert found, MISSING
    return found


def _command(state: Path, *words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "cli.main", *words, "--state", str(state)], check=True, timeout=240
    )


@pytest.fixture(scope="module", params=["plain", "serve"])
def organizations(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[dict[str, str]]]:
    """A network of two with the page beside it: plain processes, then Ray Serve behind the front door."""
    _chromium()
    state = tmp_path_factory.mktemp("network") / "state"
    words = ["--port", str(free_port()), "--workers", "1", "--frontend", str(PAGE)]
    plain = ["--plain"] if request.param == "plain" else []
    try:
        _command(state, "up", *plain, *words)
        yield json.loads((state / "network.json").read_text("utf-8"))["organizations"]
    finally:
        _command(state, "down", "--purge")


@pytest.fixture
def browser() -> Iterator[BrowserContext]:
    """A browser with no cookies yet."""
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=_chromium(), args=root)
        context = chromium.new_context()
        context.set_default_timeout(WAIT_MS)
        yield context
        chromium.close()


def _register(organization: dict[str, str], name: str) -> None:
    """A data manager, as the SDK registers it."""
    url = organization["url"]
    names = {"username": organization["username"], "password": organization["password"]}
    token = httpx.post(f"{url}/api-token-auth/", data=names, timeout=30).json()["token"]
    fields = {"name": name, "permissions": PERMISSION, "logs_permission": PERMISSION}
    answer = httpx.post(
        f"{url}/data_manager/",
        headers={"Authorization": f"Token {token}"},
        files={
            "json": (None, json.dumps(fields)),
            "data_opener": ("opener.py", b"x"),
            "description": ("about.md", f"# About {name} é".encode()),
        },
        timeout=30,
    )
    assert answer.status_code == 201, answer.text


def _log_in(page: Page, organization: dict[str, str]) -> None:
    page.goto(organization["page"] + "/compute_plans")  # a path of the page itself
    expect(page).to_have_title(organization["msp_id"], timeout=WAIT_MS)
    page.locator("#username").fill(organization["username"])
    page.locator("#password").fill(organization["password"])
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#user")).to_have_text(organization["username"], timeout=WAIT_MS)


def test_session_from_log_in_to_log_out(
    organizations: list[dict[str, str]], browser: BrowserContext
) -> None:
    one = organizations[0]
    _register(one, "first")
    page = browser.new_page()
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    statuses = _statuses_on_the_wire(page)
    page.goto(one["page"])
    page.locator("#username").fill(one["username"])
    page.locator("#password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    refusal = "No active account found with the given credentials"
    expect(page.locator("#refused")).to_have_text(refusal, timeout=WAIT_MS)

    _log_in(page, one)
    expect(page.locator("#organization")).to_have_text(one["msp_id"])
    cookies = {cookie["name"]: cookie for cookie in browser.cookies()}
    assert {name: cookie["httpOnly"] for name, cookie in cookies.items()} == {
        "header.payload": False,
        "signature": True,
        "refresh": True,
    }
    assert {cookie["domain"] for cookie in cookies.values()} == {"org-1.localhost"}

    page.get_by_role("button", name="first").click()
    expect(page.locator("#description")).to_have_text("# About first é", timeout=WAIT_MS)
    expect(page.locator("#file")).to_have_text('attachment; filename="about.md"')
    _until(page, lambda: 304 in statuses, "unchanged news are not sent again")
    expect(page.locator("#news")).to_contain_text("first STATUS_CREATED")

    _register(one, "second")
    news = page.locator("#news")
    expect(news).to_contain_text("second STATUS_CREATED", timeout=WAIT_MS)

    page.reload()
    expect(page.locator("#user")).to_have_text("org-1", timeout=WAIT_MS)
    assert browser.cookies() != []
    refresh = next(c["value"] for c in browser.cookies() if c["name"] == "refresh")
    browser.clear_cookies(name="header.payload")
    expect(page.locator("#calls")).to_contain_text("/news_feed/ 401", timeout=WAIT_MS)
    page.wait_for_function("document.cookie.includes('header.payload')")
    expect(page.locator("#user")).to_have_text("org-1")
    assert refresh != next(c["value"] for c in browser.cookies() if c["name"] == "refresh")

    page.get_by_role("button", name="Log out").click()
    expect(page.locator("#login")).to_be_visible(timeout=WAIT_MS)
    assert browser.cookies() == []
    page.reload()
    expect(page.locator("#login")).to_be_visible(timeout=WAIT_MS)
    assert failed == []


def _statuses_on_the_wire(page: Page) -> list[int]:
    """Grows with each answer that comes from the network; a page itself sees 200 for a 304."""
    statuses: list[int] = []
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on(
        "Network.responseReceivedExtraInfo", lambda event: statuses.append(event["statusCode"])
    )
    return statuses


def _until(page: Page, condition: Callable[[], bool], what: str) -> None:
    """Events reach us only while the page is asked something."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while not condition():
        assert time.monotonic() < deadline, what
        page.evaluate("() => new Promise(requestAnimationFrame)")


def test_an_organization_s_page_reads_what_another_one_holds(
    organizations: list[dict[str, str]], browser: BrowserContext
) -> None:
    """The address in the list leads to one's own organization, which fetches it."""
    _register(organizations[0], "of the other")
    page = browser.new_page()
    _log_in(page, organizations[1])
    button = page.get_by_role("button", name="of the other").first
    for _ in range(20):
        if button.is_visible():
            break
        page.reload()  # the dataset comes with the ledger's next event
        expect(page.locator("#user")).to_have_text("org-2", timeout=WAIT_MS)
    button.click()
    expect(page.locator("#description")).to_have_text("# About of the other é", timeout=WAIT_MS)
    expect(page.locator("#calls")).to_contain_text("/org-2/data_manager/", timeout=WAIT_MS)


def test_two_organizations_in_one_browser_do_not_mix(
    organizations: list[dict[str, str]], browser: BrowserContext
) -> None:
    pages = [browser.new_page() for _ in organizations]
    for page, organization in zip(pages, organizations, strict=True):
        _log_in(page, organization)
    assert len(browser.cookies()) == 6
    pages[0].get_by_role("button", name="Log out").click()
    expect(pages[0].locator("#login")).to_be_visible(timeout=WAIT_MS)
    pages[1].reload()
    expect(pages[1].locator("#user")).to_have_text("org-2", timeout=WAIT_MS)


def test_a_page_of_another_origin_reads_nothing(
    organizations: list[dict[str, str]], browser: BrowserContext
) -> None:
    one, two = organizations
    page = browser.new_page()
    _log_in(page, one)
    stranger = browser.new_page()
    stranger.goto(two["page"])
    expect(stranger.locator("#login")).to_be_visible(timeout=WAIT_MS)
    tried = stranger.evaluate(
        "url => fetch(url, {credentials: 'include'}).then(() => 'read', () => 'blocked')",
        one["url"].replace("127.0.0.1", "org-1.localhost") + "/info/",
    )
    assert tried == "blocked"
