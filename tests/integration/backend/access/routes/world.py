"""An organization with everybody who may ask it, and assets in every state that matters to who may see what.

The own organization is `MyOrg1MSP`. Assets are told as ledger events; those of `MyOrg2MSP` are known here, and
their owner cannot be reached: 504 means that the caller was let in, 403 that it was refused here.
"""

import base64
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpx
from sqlalchemy import insert, text
from sqlmodel import Session, SQLModel

from backend.access.organizations.secrets import set_incoming
from backend.access.users.store import UserStore
from backend.app import create_app
from backend.assets.apply import apply_events
from backend.assets.data_managers.tables import DataManagerFile
from backend.assets.failure_reports.tables import LogFile
from backend.assets.functions.tables import FunctionFile
from backend.assets.models.tables import ModelFile
from backend.assets.profiling.tables import TaskProfiling
from backend.fixtures.story import (
    EXECUTING,
    FAILED,
    ORG_1,
    ORG_2,
    WAITING_FOR_EXECUTOR_SLOT,
    Story,
    address,
    key,
    permissions,
    uuid,
)
from backend.kit.clock import utc_now
from backend.kit.columns import core
from backend.node import Node
from backend.settings import Settings
from orchestrator.server import Server
from protos.orchestrator import common_pb2, failure_report_pb2
from tests.integration.backend.access.conftest import GOOD, add_user
from tests.integration.backend.conftest import PASSWORD, serving
from tests.integration.backend.network_of_two.conftest import eventually

ORG_3 = "MyOrg3MSP"  # a member of the channel whom no permission names
STRANGER = "MyOrg4MSP"  # its secret is right, but it is no member
# state -> (owner, public, organizations that are permitted)
STATES: dict[str, tuple[str, bool, tuple[str, ...]]] = {
    "shared": (ORG_1, False, (ORG_1, ORG_2)),
    "public": (ORG_1, True, ()),
    "private": (ORG_1, False, (ORG_1,)),
    "foreign": (ORG_2, False, (ORG_1, ORG_2)),
    "closed": (ORG_2, False, (ORG_2,)),
}
CALLERS = (
    *("admin", "user", "page", "neighbour", "own", "permitted", "proxy", "other", "elsewhere"),
    *("stranger", "anonymous", "wrong", "revoked", "expired", "inactive", "lapsed", "waiting"),
)


def asset(family: str, state: str) -> str:
    """The name of an asset in the story: `function-shared`."""
    return f"{family}-{state}"


def told() -> Story:
    """Everything that the ledger says on mychannel."""
    story = Story()
    for organization in (ORG_1, ORG_2, ORG_3):
        story.organization(organization)
    story.plan("compute_plan-own")
    story.plan("compute_plan-foreign", owner=ORG_2)
    for state, (owner, public, authorized) in STATES.items():
        granted = permissions(*authorized, public=public)
        story.function(asset("function", state), owner=owner)
        function = story.events[-1].function
        function.permissions.CopyFrom(granted)
        function.image.CopyFrom(address("image") if owner == ORG_2 else common_pb2.Addressable())
        story.data_manager(asset("data_manager", state), owner=owner)
        story.events[-1].data_manager.permissions.CopyFrom(granted)
        story.data_sample(asset("data_sample", state), asset("data_manager", state), owner=owner)
        _task_with_model(story, state)
        _task_with_log(story, state)
    _task_with_model(story, "disabled", like="shared")
    story.model_disabled("model-disabled", "task-of-model-disabled")
    return story


def _task_with_model(story: Story, state: str, like: str | None = None) -> None:
    owner, public, authorized = STATES[like or state]
    task = f"task-of-model-{state}"
    waiting = WAITING_FOR_EXECUTOR_SLOT
    story.task(task, "compute_plan-own", "function-shared", status=waiting, worker=owner)
    story.moves(task, EXECUTING)
    story.model(asset("model", state), task)
    told = story.events[-2].model
    told.permissions.CopyFrom(permissions(*authorized, public=public))


def _task_with_log(story: Story, state: str) -> None:
    owner, public, authorized = STATES[state]
    task = asset("task", state)
    waiting = WAITING_FOR_EXECUTOR_SLOT
    story.task(task, "compute_plan-own", "function-shared", status=waiting, worker=owner)
    granted = common_pb2.Permission(public=public, authorized_ids=authorized)
    story.tasks[task].logs_permission.CopyFrom(granted)
    story.events[-1].compute_task.logs_permission.CopyFrom(granted)
    story.moves(task, EXECUTING, FAILED)
    story.report(task, failure_report_pb2.ERROR_TYPE_EXECUTION, owner=owner)


def keep_files(node: Node) -> None:
    """Stored files of the own organization's assets."""
    with node.storage.writer() as writer:
        writer.write(b"content")
        stored = writer.commit("content")
    common = {"channel": "mychannel", "creation_date": utc_now()}
    single = {"bucket": "b", "file": stored.key, "checksum": "a" * 64, "size": 7, **common}
    with node.database.transaction() as session:
        for state, (owner, _, _) in STATES.items():
            if owner != ORG_1:
                continue
            _add(session, ModelFile, key=uuid(asset("model", state)), **single)
            task = uuid(asset("task", state))
            _add(session, TaskProfiling, compute_task_key=task, **common)
            _add(session, LogFile, asset_key=task, asset_type="FAILED_ASSET_COMPUTE_TASK", **single)
            _add_two(session, FunctionFile, asset("function", state), "archive", stored.key)
            _add_two(session, DataManagerFile, asset("data_manager", state), "opener", stored.key)


def _add(session: Session, table: type[SQLModel], **values: object) -> None:
    session.connection().execute(insert(core(table)).values(**values))


def _add_two(session: Session, table: type[SQLModel], name: str, first: str, file: str) -> None:
    values: dict[str, object] = {"key": uuid(name), "channel": "mychannel"}
    for kind in (first, "description"):
        values |= {f"{kind}_file": file, f"{kind}_name": kind, f"{kind}_checksum": "a" * 64}
    if table is DataManagerFile:
        values["name"] = name
    _add(session, table, creation_date=utc_now(), **values)


@dataclass
class World:
    client: httpx.Client
    node: Node
    headers: dict[str, dict[str, str]]  # what each caller sends

    def prepare(self) -> None:
        """Bring back what an earlier request may have removed: a colleague, and somebody who waits."""
        with self.node.database.transaction() as session:
            known = [UserStore(session).account(name) for name in ("colleague", "bystander")]
        for name, channel, account in zip(
            ("colleague", "bystander"), ("mychannel", None), known, strict=True
        ):
            if account is None or account.channel != channel:
                if account is not None:
                    with self.node.database.transaction() as session:
                        UserStore(session).remove(account.id)
                add_user(self.node, name, channel)


@contextmanager
def built(settings: Settings, ledger_database: str) -> Iterator[World]:
    """The world, served."""
    members = [ORG_1, ORG_2, ORG_3]
    with ExitStack() as stack:
        ledger = Server(ledger_database, dict.fromkeys(settings.CHANNELS, members))
        ledger.start()
        stack.callback(ledger.stop)
        host, _, port = ledger.address.rpartition(":")
        changes = {
            "ISOLATED": False,
            "ORCHESTRATOR_HOST": host,
            "ORCHESTRATOR_PORT": int(port),
            "DEFAULT_THROTTLE_RATES": 100_000,
            "METRICS_TOKEN": "of the scraper",
            "OIDC_ENABLED": True,
            "OIDC_OP_URL": "http://127.0.0.1:9",
            "OIDC_RP_CLIENT_ID": "client",
            "OIDC_USERS_MUST_BE_APPROVED": True,
        }
        node = Node.build(Settings(**{**settings.model_dump(), **changes}))
        stack.callback(node.close)
        client = stack.enter_context(serving(create_app(node.settings, node)))
        eventually(lambda: client.get("/org-1/readiness").status_code == 200)
        _register_plan(client)
        with node.database.transaction() as session:
            apply_events(session, "mychannel", told().events)
            elsewhere = Story(channel="yourchannel")
            elsewhere.organization(ORG_2)
            apply_events(session, "yourchannel", elsewhere.events)
            for organization in (ORG_2, ORG_3, STRANGER):
                set_incoming(session, organization, organization)
        keep_files(node)
        yield World(client, node, _callers(client, node))


def _register_plan(client: httpx.Client) -> None:
    """Our own plan is on the ledger too, so that what its owner does to it succeeds."""
    headers = _token(client, "org-1", PASSWORD)
    plan = {"key": key("compute_plan-own"), "name": "own", "tag": "", "metadata": {}}
    answer = client.post("/org-1/compute_plan/", json=plan, headers=headers)
    assert answer.status_code == 201, answer.text


def _callers(client: httpx.Client, node: Node) -> dict[str, dict[str, str]]:
    for name in ("alice", "expired", "inactive", "lapsed"):
        add_user(node, name)
    add_user(node, "waiting", None)
    callers = {
        "admin": _token(client, "org-1", PASSWORD),
        "user": _token(client, "alice"),
        "page": _page(client, "alice"),
        "neighbour": _token(client, "org-1-yourchannel", PASSWORD),
        "own": _basic(ORG_1, "s11"),
        "permitted": _basic(ORG_2, ORG_2),
        "proxy": {**_basic(ORG_2, ORG_2), "Substra-Proxy-Asset": "True"},
        "other": _basic(ORG_3, ORG_3),
        "elsewhere": _basic(ORG_2, ORG_2, "yourchannel"),
        "stranger": _basic(STRANGER, STRANGER),
        "anonymous": {},
        "wrong": _basic(ORG_2, "wrong"),
        "revoked": _token(client, "alice"),
        "expired": _token(client, "expired"),
        "inactive": _token(client, "inactive"),
        "lapsed": _token(client, "lapsed"),
        "waiting": _token(client, "waiting"),
    }
    listed = client.get("/org-1/active-api-tokens/", headers=callers["revoked"]).json()
    newest = listed["implicit_tokens"][0]["id"]
    client.delete(f"/org-1/active-api-tokens/?id={newest}", headers=callers["user"])
    lifetime = timedelta(minutes=node.settings.EXPIRY_TOKEN_LIFETIME)
    statements = (
        "UPDATE implicit_bearer_token t SET created = created - :lifetime"
        " FROM \"user\" u WHERE u.id = t.user_id AND u.username = 'expired'",
        "UPDATE \"user\" SET active = false WHERE username = 'inactive'",
        "INSERT INTO user_oidc_info (user_id, issuer, subject, valid_until)"
        " SELECT id, 'i', 's', now() - interval '1 second' FROM \"user\" WHERE username = 'lapsed'",
    )
    with node.database.transaction() as session:
        for statement in statements:
            values = {"lifetime": lifetime} if ":lifetime" in statement else {}
            session.connection().execute(text(statement), values)
    client.cookies.clear()
    assert tuple(callers) == CALLERS
    return callers


def _token(client: httpx.Client, username: str, password: str = GOOD) -> dict[str, str]:
    fields = {"username": username, "password": password}
    answer = client.post("/org-1/api-token-auth/", data=fields)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Token {answer.json()['token']}"}


def _page(client: httpx.Client, username: str) -> dict[str, str]:
    """What the front end sends: half a token, and the cookie with the other half."""
    answer = client.post("/org-1/me/login/", json={"username": username, "password": GOOD})
    cookies = answer.cookies
    return {
        "Authorization": f"JWT {cookies['header.payload']}",
        "Cookie": f"signature={cookies['signature']}",
    }


def _basic(name: str, secret: str, channel: str = "mychannel") -> dict[str, str]:
    encoded = base64.b64encode(f"{name}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {encoded}", "Substra-Channel-Name": channel}


def path_of(path: str, state: str) -> str:
    """A route's path for an asset in a state; `unknown` is nobody's key, `malformed` none at all."""
    family = path.split("/")[1]
    family = "task" if family in ("logs", "task_profiling") else family
    named = {"unknown": key("nobody"), "malformed": "x"}
    found = named.get(state) or key(asset(family, state))
    number = "x" if state == "malformed" else str(2**70)
    for name, value in (("key", found), ("username", state), ("step", "step"), ("pk", number)):
        path = path.replace(f"{{{name}}}", value)
    return path
