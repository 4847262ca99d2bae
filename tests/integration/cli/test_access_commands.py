"""Accounts, secrets and tokens from the shell (issue 4: management in place of Django's)."""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from httpx import Client
from sqlalchemy import text
from typer.testing import CliRunner, Result

from backend.access.organizations.secrets import OutgoingSecrets, incoming_hash
from backend.access.provisioning import provision
from backend.app import create_app
from backend.kit.database import Database
from backend.node import Node
from backend.settings import PeerSettings, Settings
from cli.main import app
from tests.integration.backend.conftest import PASSWORD, log_in, serving

GOOD = "quartz-lantern-95-gravel"


class Shell:
    """Runs commands on one organization."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def run(self, *words: str, stdin: str = "") -> Result:
        place = ["--settings", str(self.file)]
        return CliRunner().invoke(app, [*words, *place], input=stdin)

    def json(self, *words: str, stdin: str = "") -> Any:
        result = self.run(*words, "--output", "json", stdin=stdin)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def shell(settings: Settings, tmp_path: Path) -> Shell:
    file = tmp_path / "settings.json"
    content = json.loads(settings.model_dump_json())
    file.write_text(json.dumps(content))
    return Shell(file)


@pytest.fixture
def api(settings: Settings) -> Iterator[Client]:
    """The organization's API, which also provisions what the settings name."""
    node = Node.build(settings)
    with serving(create_app(settings, node)) as client:
        yield client
    node.close()


def can_log_in(client: Client, username: str, password: str) -> bool:
    fields = {"username": username, "password": password}
    return client.post("/org-1/api-token-auth/", data=fields).status_code == 200


# ------------------------------------------------------------------------------ users
def test_user_is_added_listed_changed_and_removed(shell: Shell, api: Client) -> None:
    made = shell.json("users", "add", "alice", "--channel", "mychannel", stdin=GOOD + "\n")
    assert made == {"username": "alice", "channel": "mychannel", "role": "USER"}
    assert can_log_in(api, "alice", GOOD)
    rows = {row["username"]: row for row in shell.json("users", "list")}
    assert set(rows) == {"alice", "org-1", "org-1-yourchannel"}
    assert rows["alice"]["role"] == "USER"
    assert rows["alice"]["active"] is True
    assert [row["username"] for row in shell.json("users", "list", "--channel", "yourchannel")] == [
        "org-1-yourchannel"
    ]
    shell.json("users", "role", "alice", "ADMIN")
    assert {row["username"]: row["role"] for row in shell.json("users", "list")}["alice"] == "ADMIN"
    generated = shell.json("users", "password", "alice", "--generate")["password"]
    assert not can_log_in(api, "alice", GOOD)
    assert can_log_in(api, "alice", generated)
    assert shell.run("users", "delete", "alice", stdin="n\n").exit_code == 1
    assert shell.run("users", "delete", "alice", stdin="y\n").exit_code == 0
    assert not can_log_in(api, "alice", generated)


def test_text_is_for_people(shell: Shell, api: Client) -> None:
    result = shell.run("users", "list")
    assert result.exit_code == 0
    assert "org-1-yourchannel" in result.stdout
    assert PASSWORD not in result.stdout
    with pytest.raises(json.JSONDecodeError):
        json.loads(result.stdout)


@pytest.mark.parametrize(
    ("words", "stdin", "status", "message"),
    [
        (["users", "add", "org-1", "--channel", "mychannel"], GOOD, 1, "already"),
        (["users", "add", "bob", "--channel", "nochannel"], GOOD, 1, "channel is one of"),
        (["users", "add", "bob"], GOOD, 1, "channel is one of"),
        (["users", "add", "bob", "--channel", "mychannel"], "weak", 1, "too short"),
        (["users", "add", "bob", "--channel", "mychannel"], "", 2, "--generate"),
        (["users", "add", "a/b", "--channel", "mychannel"], GOOD, 1, "valid username"),
        (["users", "role", "nobody", "ADMIN"], "", 1, "no user nobody"),
        (["users", "role", "org-1", "KING"], "", 2, "KING"),
        (["users", "password", "external"], GOOD, 1, "no user external"),
        (["users", "delete", "nobody", "--yes"], "", 1, "no user nobody"),
        (["users", "approve", "org-1", "--channel", "mychannel"], "", 1, "already"),
        (["tokens", "revoke"], "", 2, "--user"),
        (["tokens", "revoke", "abc"], "", 1, "no token's id"),
        (["tokens", "revoke", "00000000-0000-0000-0000-000000000000"], "", 1, "no token"),
        (["organizations", "add-incoming", "a:b"], "x", 1, "colon"),
        (["organizations", "add-outgoing", "A", "--url", "ftp://x"], "x", 1, "http"),
        (["accounts", "sync", "no-such-file"], "", 1, "no-such-file: No such file"),
    ],
)
def test_refusals_are_one_message_and_a_status(
    shell: Shell, api: Client, words: list[str], stdin: str, status: int, message: str
) -> None:
    result = shell.run(*words, stdin=stdin)
    assert result.exit_code == status, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_refusal_for_programs_is_json_on_standard_error(shell: Shell, api: Client) -> None:
    result = shell.run("users", "delete", "nobody", "--yes", "--output", "json")
    assert json.loads(result.stderr) == {"error": "There is no user nobody.", "status": 1}


def test_weak_password_is_accepted_when_asked_for(shell: Shell, api: Client) -> None:
    shell.json("users", "add", "bob", "--channel", "mychannel", "--weak", stdin="weak\n")
    assert can_log_in(api, "bob", "weak")


def test_user_who_waits_is_approved(shell: Shell, api: Client, settings: Settings) -> None:
    shell.json("users", "add", "bob", "--channel", "mychannel", "--generate")
    database = Database(settings.database_url)
    with database.transaction() as session:
        session.connection().execute(
            text("DELETE FROM user_channel USING \"user\" WHERE user_id = id AND username = 'bob'")
        )
    database.dispose()
    assert shell.run("users", "role", "bob", "ADMIN").exit_code == 1
    answer = shell.json("users", "approve", "bob", "--channel", "mychannel", "--role", "ADMIN")
    assert answer == {"username": "bob", "channel": "mychannel", "role": "ADMIN"}


# ------------------------------------------------------------------------------ tokens
def test_tokens_are_listed_and_revoked(shell: Shell, api: Client) -> None:
    token = log_in(api)
    headers = {"Authorization": f"Token {token['token']}"}
    made = api.post(
        "/org-1/api-token/", json={"expires_at": "2099-01-01", "note": "robot"}, headers=headers
    ).json()
    rows = shell.json("tokens", "list")
    assert [(row["kind"], row["note"], row["user"], row["expired"]) for row in rows] == [
        ("bearer", "robot", "org-1", False),
        ("implicit", None, "org-1", False),
    ]
    assert token["token"] not in json.dumps(rows)
    assert shell.json("tokens", "list", "--user", "org-1-yourchannel") == []
    assert shell.json("tokens", "revoke", made["id"])["revoked"] == 1
    assert api.get("/org-1/users/", headers=headers).status_code == 200
    fields = {"username": "org-1", "password": PASSWORD}
    assert api.post("/org-1/me/login/", json=fields).status_code == 200
    assert shell.json("tokens", "revoke", "--user", "org-1")["revoked"] == 1
    assert api.get("/org-1/users/", headers=headers).status_code == 401
    assert api.post("/org-1/me/refresh/").status_code == 401


# ------------------------------------------------------------------------------ organizations
def test_secrets_are_set_listed_without_being_shown_and_checked(shell: Shell, api: Client) -> None:
    url = f"{api.base_url}/org-1"
    for name, secret, address in (
        ("MyOrg1MSP", "s11", url),
        ("MyOrg2MSP", "s12", "http://127.0.0.1:9/org-2"),
        ("MyOrg3MSP", "s13", url),
    ):
        shell.json("organizations", "add-outgoing", name, "--url", address, stdin=f"{secret}\n")
    result = shell.run("organizations", "check", "--output", "json")
    assert result.exit_code == 1
    rows = {(row["organization"], row["channel"]): row for row in json.loads(result.stdout)}
    own = rows["MyOrg1MSP", "mychannel"]
    assert (own["status"], own["accepted"], own["cause"]) == (404, True, "accepted")
    dead = rows["MyOrg2MSP", "mychannel"]
    assert (dead["status"], dead["accepted"]) == (None, False)
    assert "refused" in dead["cause"].lower()
    wrong = rows["MyOrg3MSP", "mychannel"]
    assert (wrong["status"], wrong["cause"]) == (200, "MyOrg1MSP answers at this address")
    listed = {row["organization"]: row for row in shell.json("organizations", "list")}
    assert listed["MyOrg1MSP"]["incoming"] is True
    assert listed["MyOrg3MSP"]["incoming"] is False
    assert listed["MyOrg3MSP"]["url"] == url
    assert "s13" not in json.dumps(listed)


def test_check_names_a_wrong_secret(shell: Shell, api: Client) -> None:
    secret = shell.json("organizations", "add-incoming", "MyOrg1MSP", "--generate")["secret"]
    url = f"{api.base_url}/org-1"
    shell.json("organizations", "add-outgoing", "MyOrg1MSP", "--url", url, stdin="s11\n")
    result = shell.run("organizations", "check")
    assert result.exit_code == 1
    assert " 401 " in result.stdout, result.stdout
    assert "our outgoing secret is not its incoming secret for MyOrg1MSP" in result.stdout
    shell.json("organizations", "add-outgoing", "MyOrg1MSP", stdin=secret + "\n")
    rows = json.loads(shell.run("organizations", "check", "--output", "json").stdout)
    own = [row for row in rows if row["organization"] == "MyOrg1MSP"]
    assert own
    assert all(row["accepted"] for row in own), "the address stays when none is given"


def test_secrets_set_by_hand_stay_at_the_next_start(
    shell: Shell, api: Client, settings: Settings
) -> None:
    shell.json("organizations", "add-incoming", "MyOrg2MSP", stdin="by hand\n")
    shell.json("organizations", "add-outgoing", "MyOrg2MSP", stdin="by hand\n")
    again = Node.build(settings)
    try:
        provision(again)
        known = incoming_hash(again.database, "MyOrg2MSP")
        assert known is not None
        assert again.verified.check("by hand", known)
        peer = OutgoingSecrets(settings, again.database)("MyOrg2MSP", "mychannel")
        assert peer is not None
        assert (peer.outgoing, peer.url) == ("by hand", "http://127.0.0.1:9/org-2")
        peers = {**settings.PEERS, "MyOrg2MSP": PeerSettings(url="", outgoing="x", incoming="new")}
        provision(replace(again, settings=settings.model_copy(update={"PEERS": peers})))
        renewed = incoming_hash(again.database, "MyOrg2MSP")
        assert renewed is not None
        assert again.verified.check("new", renewed), "what the settings say anew counts"
    finally:
        again.close()


# ------------------------------------------------------------------------------ account files
DOCUMENT = {
    "users": [
        {"name": "org-1", "secret": "another one", "channel": "mychannel"},
        {"name": "carol", "secret": "carols", "channel": "yourchannel", "role": "USER"},
    ],
    "incomingOrganizations": [{"name": "MyOrg5MSP", "secret": "s51"}],
    "outgoingOrganizations": [{"name": "MyOrg5MSP", "secret": "s15", "url": "http://five.test"}],
}


def test_sync_makes_and_changes_and_never_deletes(
    shell: Shell, api: Client, tmp_path: Path
) -> None:
    shell.json("users", "add", "made-by-hand", "--channel", "mychannel", stdin=GOOD + "\n")
    file = tmp_path / "accounts.yaml"
    file.write_text(yaml.safe_dump(DOCUMENT))
    shown = shell.json("accounts", "sync", str(file), "--dry-run")
    assert not can_log_in(api, "carol", "carols")
    done = shell.json("accounts", "sync", str(file))
    assert done == shown
    assert {(row["kind"], row["name"]): row["outcome"] for row in done} == {
        ("user", "org-1"): "changed",
        ("user", "carol"): "created",
        ("incoming", "MyOrg5MSP"): "created",
        ("outgoing", "MyOrg5MSP"): "created",
    }
    assert can_log_in(api, "carol", "carols")
    assert can_log_in(api, "org-1", "another one")
    assert can_log_in(api, "made-by-hand", GOOD)
    generated = shell.json("users", "password", "carol", "--generate")["password"]
    again = shell.json("accounts", "sync", str(file))
    assert {row["outcome"] for row in again} == {"unchanged"}
    assert can_log_in(api, "carol", generated), "what a user changed stays"
    names = {row["username"] for row in shell.json("users", "list")}
    assert names == {"org-1", "org-1-yourchannel", "carol", "made-by-hand"}


def test_user_moves_over_with_the_hash_that_django_made(
    shell: Shell, api: Client, tmp_path: Path
) -> None:
    digest = hashlib.pbkdf2_hmac("sha256", b"from Django", b"salt", 1000)
    hashed = f"pbkdf2_sha256$1000$salt${base64.b64encode(digest).decode()}"
    entry = {"name": "moved", "passwordHash": hashed, "channel": "mychannel", "role": "USER"}
    file = tmp_path / "accounts.json"
    file.write_text(json.dumps({"users": [entry]}))
    assert shell.json("accounts", "sync", str(file))[0]["outcome"] == "created"
    assert can_log_in(api, "moved", "from Django")
    assert shell.json("accounts", "sync", str(file))[0]["outcome"] == "unchanged"
    assert can_log_in(api, "moved", "from Django")


def test_sync_reads_a_mounted_secret(shell: Shell, api: Client, tmp_path: Path) -> None:
    folder = tmp_path / "accounts"
    folder.mkdir()
    (folder / "users").write_text("dave daves mychannel\n\n# nobody\n")
    (folder / "incoming_organizations").write_text("MyOrg6MSP s61\n")
    done = shell.json("accounts", "sync", str(folder))
    assert [(row["kind"], row["name"]) for row in done] == [
        ("user", "dave"),
        ("incoming", "MyOrg6MSP"),
    ]
    assert can_log_in(api, "dave", "daves")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "neither YAML nor JSON"),
        ("[]", "expected the lists"),
        ("{users: [3]}", "users[0]"),
        ("{users: [{name: a}]}", "secret is missing"),
        ("{users: [{name: a, secret: 5}]}", "texts"),
        ("{users: [{name: a, secret: s3cret}]}", "user a: the channel is one of"),
        ("{users: [{name: a, secret: s3cret, channel: mychannel, role: KING}]}", "role"),
        ("{people: []}", "unknown list people"),
        ("{users: [{name: a, passwordHash: s3cret, channel: mychannel}]}", "neither Django's"),
        ("{incomingOrganizations: [{name: a, passwordHash: s3cret}]}", "secret is missing"),
        ("{incomingOrganizations: [{name: " + "x" * 65 + ", secret: s3cret}]}", "64 characters"),
    ],
)
def test_wrong_file_changes_nothing_and_repeats_no_secret(
    shell: Shell, api: Client, tmp_path: Path, content: str, message: str
) -> None:
    before = shell.json("users", "list")
    file = tmp_path / "accounts.yaml"
    file.write_text(content)
    result = shell.run("accounts", "sync", str(file))
    assert result.exit_code == 1
    assert message in result.stderr
    assert "s3cret" not in result.output
    assert shell.json("users", "list") == before


# ------------------------------------------------------------------------------ the schema, places
def test_migrate_brings_an_empty_database_to_the_schema(shell: Shell, database_url: str) -> None:
    content = json.loads(shell.file.read_text())
    shell.file.write_text(json.dumps({**content, "DATABASE_URL": database_url}))
    refused = shell.run("users", "list")
    assert refused.exit_code == 3
    assert "user" in refused.stderr
    first = shell.json("migrate")
    assert first["before"] is None
    assert shell.json("migrate") == {"before": first["after"], "after": first["after"]}
    assert "already" in shell.run("migrate").stdout
    assert shell.json("users", "list") == []


def test_migrate_says_when_the_object_store_is_out_of_reach(
    shell: Shell, database_url: str
) -> None:
    content = json.loads(shell.file.read_text())
    store = {
        "OBJECTSTORE_URL": "http://127.0.0.1:1",
        "OBJECTSTORE_ACCESSKEY": "key",
        "OBJECTSTORE_SECRETKEY": "a-secret",
    }
    shell.file.write_text(json.dumps({**content, "DATABASE_URL": database_url, **store}))
    refused = shell.run("migrate")
    assert refused.exit_code == 3
    assert "object store cannot be used" in refused.stderr
    assert "a-secret" not in refused.stderr


def test_database_out_of_reach_is_status_3_without_the_password(shell: Shell) -> None:
    content = json.loads(shell.file.read_text())
    url = "postgresql://someone:topsecret@127.0.0.1:9/nothing"
    shell.file.write_text(json.dumps({**content, "DATABASE_URL": url}))
    result = shell.run("users", "list")
    assert result.exit_code == 3
    assert "database" in result.stderr
    assert "topsecret" not in result.output


def test_organization_of_an_embedded_network_and_the_environment(
    shell: Shell, api: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "state" / "settings"
    folder.mkdir(parents=True)
    (folder / "org-1.json").write_text(shell.file.read_text())
    state = ["--state", str(tmp_path / "state"), "--output", "json"]
    found = CliRunner().invoke(app, ["users", "list", "--org", "org-1", *state])
    assert found.exit_code == 0, found.output
    missing = CliRunner().invoke(app, ["users", "list", "--org", "org-9", *state])
    assert missing.exit_code == 3
    content = json.loads(shell.file.read_text())
    monkeypatch.setenv("DATABASE_URL", content["DATABASE_URL"])
    assert CliRunner().invoke(app, ["users", "list", *state]).stdout == found.stdout
    monkeypatch.delenv("DATABASE_URL")
    nowhere = CliRunner().invoke(app, ["users", "list"])
    assert nowhere.exit_code == 2
    assert "--settings" in nowhere.stderr


@pytest.mark.parametrize("content", ["[]", "{", '{"DATABASE_PORT": "x"}', '{"CHANNELS": 3}'])
def test_broken_settings_are_status_3_and_not_repeated(shell: Shell, content: str) -> None:
    shell.file.write_text(content)
    result = shell.run("users", "list")
    assert result.exit_code == 3, result.output
    assert "settings" in result.stderr.lower()
    assert "Traceback" not in result.output
