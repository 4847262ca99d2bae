"""What slows down who guesses: throttling by address and account, over all replicas (rest-api.md 1.6)."""

import base64
import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from httpx import Client
from sqlalchemy import text

from backend.access.throttle.bucket import WINDOW_S
from backend.access.users import passwords
from backend.app import create_app
from backend.node import Node
from backend.settings import Settings
from tests.integration.backend.access.conftest import GOOD, add_user
from tests.integration.backend.conftest import PASSWORD, serving

RATE = 5
FILE = "/org-1/model/00000000-0000-0000-0000-000000000000/"


@pytest.fixture
def replicas(settings: Settings) -> Iterator[list[Client]]:
    """Two processes' worth of the application behind one proxy, on one database."""
    limited = settings.model_copy(
        update={"DEFAULT_THROTTLE_RATES": RATE, "TRUSTED_PROXIES": 1, "ISOLATED": True}
    )
    with ExitStack() as stack:
        clients = []
        for _ in range(2):
            node = Node.build(limited)
            stack.callback(node.close)
            clients.append(stack.enter_context(serving(create_app(limited, node))))
        yield clients


def _log_in(client: Client, password: str, address: str, username: str = "org-1") -> int:
    return client.post(
        "/org-1/api-token-auth/",
        data={"username": username, "password": password},
        headers={"X-Forwarded-For": address},
    ).status_code


def test_replicas_count_together(replicas: list[Client]) -> None:
    one, two = replicas
    statuses = [
        client.get("/org-1/info/", headers={"X-Forwarded-For": "10.0.0.1"}).status_code
        for client in (one, two, one, two, one, two)
    ]
    assert statuses == [200] * RATE + [429]
    other = two.get("/org-1/info/", headers={"X-Forwarded-For": "10.0.0.2"})
    assert other.status_code == 200


def test_what_the_caller_wrote_before_the_proxy_does_not_count(replicas: list[Client]) -> None:
    statuses = [
        _log_in(replicas[0], "wrong", f"1.2.3.{n}, 10.0.0.1", f"nobody-{n}")
        for n in range(RATE + 1)
    ]
    assert statuses == [400] * RATE + [429]


def test_wrong_passwords_count_against_the_account_from_wherever_they_come(
    replicas: list[Client],
) -> None:
    guesses = [_log_in(replicas[n % 2], "wrong", f"10.0.1.{n}") for n in range(RATE)]
    assert guesses == [400] * RATE
    assert _log_in(replicas[0], PASSWORD, "10.0.2.1") == 429
    assert _log_in(replicas[0], PASSWORD, "10.0.2.1", "org-1-yourchannel") == 200


def test_right_passwords_do_not_use_up_the_account(replicas: list[Client]) -> None:
    log_ins = [_log_in(replicas[n % 2], PASSWORD, f"10.0.3.{n}") for n in range(2 * RATE)]
    assert log_ins == [200] * (2 * RATE)


def test_unknown_accounts_are_limited_as_known_ones(replicas: list[Client]) -> None:
    for username in ("nobody", "org-1"):
        statuses = [_log_in(replicas[0], "wrong", f"10.0.4.{n}", username) for n in range(RATE + 1)]
        assert statuses == [400] * RATE + [429]


def test_a_window_that_has_passed_counts_no_more(
    replicas: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [_log_in(replicas[0], "wrong", "10.0.5.1") for _ in range(RATE)] == [400] * RATE
    later = time.time() + WINDOW_S + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert _log_in(replicas[0], PASSWORD, "10.0.5.1") == 200


def _basic(client: Client, name: str, secret: str, address: str) -> int:
    headers = {
        "Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode(),
        "X-Forwarded-For": address,
        "Substra-Channel-Name": "mychannel",
    }
    return client.get(FILE, headers=headers).status_code


def test_guessing_by_basic_is_limited_and_the_right_secret_never_is(
    replicas: list[Client],
) -> None:
    own = "MyOrg1MSP"
    right = [_basic(replicas[0], own, "s11", "10.0.6.1") for _ in range(2 * RATE)]
    assert right == [404] * (2 * RATE)
    wrong = [_basic(replicas[n % 2], own, "wrong", "10.0.6.2") for n in range(RATE + 1)]
    assert wrong == [401] * RATE + [429]
    assert _basic(replicas[0], own, "s11", "10.0.6.2") == 404, "a verified secret is not counted"
    users = [_basic(replicas[0], "org-1", "wrong", f"10.0.7.{n}") for n in range(RATE + 1)]
    assert users == [401] * RATE + [429]


def test_secrets_of_organizations_are_stored_hashed_and_encrypted(
    client: Client, node: Node
) -> None:
    with node.database.reading() as connection:
        incoming = connection.execute(text("SELECT * FROM incoming_organization")).all()
        outgoing = connection.execute(text("SELECT * FROM outgoing_organization")).all()
    assert {row.organization_id for row in incoming} == {"MyOrg1MSP", "MyOrg2MSP"}
    assert all(row.secret_hash.startswith("$argon2id$") for row in incoming)
    stored = str(outgoing)
    assert outgoing
    assert "s12" not in stored
    peer = node.exchange._stored
    assert peer is not None
    found = peer("MyOrg2MSP", "mychannel")
    assert found is not None
    assert (found.url, found.outgoing) == ("http://127.0.0.1:9/org-2", "s12")


def test_moved_user_logs_in_and_gets_a_hash_of_ours(client: Client, node: Node) -> None:
    add_user(node, "moved")
    digest = hashlib.pbkdf2_hmac("sha256", b"from Django", b"salt", 1000)
    hashed = f"pbkdf2_sha256$1000$salt${base64.b64encode(digest).decode()}"
    with node.database.transaction() as session:
        query = text("UPDATE \"user\" SET password = :hashed WHERE username = 'moved'")
        session.connection().execute(query, {"hashed": hashed})
    fields = {"username": "moved", "password": "from Django"}
    wrong = client.post("/org-1/api-token-auth/", data={**fields, "password": GOOD})
    assert wrong.status_code == 400
    assert _stored(node, "moved") == hashed, "a wrong password upgrades nothing"
    for _ in range(2):
        assert client.post("/org-1/api-token-auth/", data=fields).status_code == 200
        assert _stored(node, "moved").startswith("$argon2id$")


def test_log_in_of_an_unknown_user_computes_as_many_hashes(
    client: Client, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_user(node, "alice")
    computed: list[str] = []
    verify = passwords._ARGON2.verify

    def counted(password: bytes, hashed: str) -> bool:
        computed.append(hashed.rsplit("$", 2)[0])
        return verify(password, hashed)

    monkeypatch.setattr(passwords._ARGON2, "verify", counted)
    counts = {}
    for username in ("alice", "nobody", "external"):
        computed.clear()
        client.post("/org-1/api-token-auth/", data={"username": username, "password": "wrong"})
        counts[username] = list(computed)
    assert len(counts["alice"]) == 1
    assert counts["alice"] == counts["nobody"] == counts["external"]


def _stored(node: Node, username: str) -> str:
    with node.database.reading() as connection:
        query = text('SELECT password FROM "user" WHERE username = :name')
        return str(connection.execute(query, {"name": username}).scalar_one())
