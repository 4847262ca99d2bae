"""Models and logs: who gets the bytes, at the owner and through the caller's own organization."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from backend.app import create_app
from backend.fixtures.story import (
    EXECUTING,
    FAILED,
    ORG_1,
    ORG_2,
    WAITING_FOR_EXECUTOR_SLOT,
    Story,
    key,
    uuid,
)
from backend.kit.database import Database
from backend.node import Node
from backend.settings import ChannelSettings, PeerSettings, Settings
from protos.orchestrator import common_pb2, failure_report_pb2
from tests.integration.backend.conftest import log_in, serving

from .conftest import Tell

P = "/org-1"
CHANNEL = {"Substra-Channel-Name": "mychannel"}
PROXY = {**CHANNEL, "Substra-Proxy-Asset": "True"}
AS_ORG_2 = (ORG_2, "s21")


def story(permitted: tuple[str, ...] = (ORG_1, ORG_2)) -> Story:
    """A model of our own; a task of ours that failed; a build of ours that failed."""
    told = Story()
    for organization in (ORG_1, ORG_2):
        told.organization(organization)
    told.function("train")
    told.function("broken")
    told.plan("plan")
    told.task("a", "plan", "train", status=WAITING_FOR_EXECUTOR_SLOT)
    told.task("b", "plan", "train", status=WAITING_FOR_EXECUTOR_SLOT)
    told.task("c", "plan", "broken")
    told.moves("a", EXECUTING)
    told.model("model", "a")
    permission = common_pb2.Permission(public=False, authorized_ids=permitted)
    told.events[-2].model.permissions.process.CopyFrom(permission)
    told.events[-2].model.permissions.download.CopyFrom(permission)
    told.moves("b", EXECUTING, FAILED)
    told.report("b", failure_report_pb2.ERROR_TYPE_EXECUTION)
    told.moves("c", FAILED)
    told.report("broken", failure_report_pb2.ERROR_TYPE_BUILD, of_function=True)
    return told


@pytest.fixture
def served(settings: Settings, database: Database) -> Iterator[httpx.Client]:
    """The owner's application, without credentials; its files are in the storage."""
    settings = settings.model_copy(update={"ISOLATED": False, "ORCHESTRATOR_PORT": 1})
    node = Node.build(settings)
    _store(node, f"models/{key('model')}/model", b"weights")
    _store(node, f"logs/{key('b')}/log", "Traceback: ü".encode())
    _store(node, f"logs/{key('broken')}/log", b"pip: no such package")
    with serving(create_app(settings, node)) as client:
        with database.transaction() as session:
            for statement in (
                "INSERT INTO model_file VALUES (:a, 'mychannel', 'm', :file_a, 'x', 7, now())",
                "INSERT INTO log_file VALUES (:b, 'mychannel', 't', 'l', :file_b, 'x', 7, now())",
                "INSERT INTO log_file VALUES (:c, 'mychannel', 'f', 'l', :file_c, 'x', 7, now())",
            ):
                session.connection().execute(
                    text(statement),
                    {
                        "a": uuid("model"),
                        "b": uuid("b"),
                        "c": uuid("broken"),
                        "file_a": f"models/{key('model')}/model",
                        "file_b": f"logs/{key('b')}/log",
                        "file_c": f"logs/{key('broken')}/log",
                    },
                )
        yield client
    node.close()


def _store(node: Node, name: str, content: bytes) -> None:
    with node.storage.writer() as writer:
        writer.write(content)
        writer.commit(name)


@pytest.fixture
def owner(served: httpx.Client) -> httpx.Client:
    """User `org-1` of the owner."""
    served.headers["Authorization"] = f"Token {log_in(served)['token']}"
    return served


def test_user_gets_a_model_that_may_be_downloaded(owner: httpx.Client, tell: Tell) -> None:
    tell(story().events)
    answer = owner.get(f"{P}/model/{key('model')}/file/")
    assert (answer.status_code, answer.content) == (200, b"weights")
    assert key("model") in answer.headers["content-disposition"]


def test_user_does_not_get_a_model_of_others(owner: httpx.Client, tell: Tell) -> None:
    tell(story(permitted=(ORG_2,)).events)
    assert owner.get(f"{P}/model/{key('model')}/file/").status_code == 403


def test_disabled_model_is_gone(owner: httpx.Client, tell: Tell) -> None:
    told = story()
    told.model_disabled("model", "a")
    tell(told.events)
    answer = owner.get(f"{P}/model/{key('model')}/file/")
    assert (answer.status_code, answer.json()) == (
        410,
        {"detail": "Asset not available anymore"},
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/model/x/file/", 400),
        (f"/model/{key('nobody')}/file/", 404),
        ("/task/x/logs/", 400),
        (f"/task/{key('nobody')}/logs/", 404),
        (f"/task/{key('a')}/logs/", 410),
        (f"/logs/{key('a')}/file/", 404),
        ("/logs/x/file/", 400),
    ],
)
def test_what_is_not_there(owner: httpx.Client, tell: Tell, path: str, status: int) -> None:
    tell(story().events)
    answer = owner.get(P + path)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


def test_organizations_get_models_by_their_permissions(served: httpx.Client, tell: Tell) -> None:
    tell(story(permitted=(ORG_2,)).events)
    path = f"{P}/model/{key('model')}/file/"
    for headers in (CHANNEL, PROXY):
        answer = served.get(path, headers=headers, auth=AS_ORG_2)
        assert (answer.status_code, answer.content) == (200, b"weights")
    assert served.get(path, headers=CHANNEL, auth=(ORG_2, "wrong")).status_code == 401
    assert served.get(path, headers=CHANNEL).status_code == 401


def test_organizations_do_not_get_what_is_not_theirs(served: httpx.Client, tell: Tell) -> None:
    tell(story(permitted=(ORG_1,)).events)
    path = f"{P}/model/{key('model')}/file/"
    for headers in (CHANNEL, PROXY):
        assert served.get(path, headers=headers, auth=AS_ORG_2).status_code == 403
    log = f"{P}/logs/{key('b')}/file/"
    refused = served.get(log, headers=CHANNEL, auth=AS_ORG_2)
    assert (refused.status_code, refused.json()) == (403, {"detail": "Unauthorized"})


def test_logs_are_text(owner: httpx.Client, tell: Tell) -> None:
    tell(story().events)
    answer = owner.get(f"{P}/task/{key('b')}/logs/")
    assert (answer.status_code, answer.text) == (200, "Traceback: ü")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert f"tuple_logs_{key('b')}.txt" in answer.headers["content-disposition"]


def test_log_of_a_build_explains_its_tasks(owner: httpx.Client, tell: Tell) -> None:
    tell(story().events)
    for path in (f"/task/{key('c')}/logs/", f"/logs/{key('broken')}/file/"):
        answer = owner.get(P + path)
        assert (answer.status_code, answer.content) == (200, b"pip: no such package")


def test_files_of_the_owner_come_through_ones_own_organization(
    served: httpx.Client, settings: Settings, tell: Tell, postgres: str, tmp_path: Path
) -> None:
    tell(story().events)
    port = served.base_url.port
    secrets = PeerSettings(url=f"http://127.0.0.1:{port}/org-1", outgoing="s21", incoming="s12")
    changes = {
        "MSP_ID": ORG_2,
        "PEERS": {ORG_1: secrets},
        "ISOLATED": False,
        "ORCHESTRATOR_PORT": 1,
        "MEDIA_ROOT": tmp_path / "other",
        "CHANNELS": {"mychannel": ChannelSettings()},
    }
    node = Node.build(settings.model_copy(update=changes))
    with serving(create_app(node.settings, node)) as other:
        other.headers["Authorization"] = f"Token {log_in(other)['token']}"
        log = other.get(f"{P}/task/{key('c')}/logs/")
        assert (log.status_code, log.content) == (200, b"pip: no such package")
        model = other.get(f"{P}/model/{key('model')}/file/")
        assert model.status_code == 403
        assert model.json() == {"detail": f"Disabled: model_export_enabled is disabled on {ORG_2}"}
    node.close()
