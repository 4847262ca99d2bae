"""The channel file changes while the ledger runs (orchestrator.md 12.2: the original needs a restart)."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from orchestrator.channels import ChannelFileError, parse_channels
from orchestrator.server import Options, Server
from protos.orchestrator.info_pb2 import QueryVersionParam
from tests.integration.orchestrator.member import Member
from tests.integration.orchestrator.waiting import until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "channels.yaml"
    path.write_text("channels: {mychannel: [a, b]}\n")
    return path


@pytest.fixture
def watching(database_url: str, file: Path) -> Iterator[Server]:
    server = Server(database_url, {"mychannel": ["a", "b"]}, options=Options(channel_file=file))
    server.start()
    yield server
    server.stop()


def _is_member(server: Server, organization: str, channel: str) -> bool:
    with Member(server.address, organization, channel) as member:
        try:
            member.call("InfoService/QueryVersion", QueryVersionParam())
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.PERMISSION_DENIED:
                raise
            return False
    return True


def test_a_new_channel_is_written_and_streamed_at_once(watching: Server, file: Path) -> None:
    assert not _is_member(watching, "c", "second")
    file.write_text("channels: {mychannel: [a, b], second: [c]}\n")
    until(lambda: _is_member(watching, "c", "second"))
    with Member(watching.address, "c", "second") as c:
        stream = c.join().subscribe()
        assert next(stream).asset_key == "c"
        plan = c.plan()
        assert next(stream).asset_key == plan
    assert _is_member(watching, "a", "mychannel")


def test_who_leaves_a_channel_is_refused_and_hears_no_more(watching: Server, file: Path) -> None:
    with (
        Member(watching.address, "a") as a,
        Member(watching.address, "b") as b,
    ):
        a.join()
        ending, staying = b.subscribe(), a.subscribe()
        assert next(ending).asset_key == next(staying).asset_key == "a"
        file.write_text("channels: {mychannel: [a]}\n")
        with pytest.raises(grpc.RpcError) as refusal:
            next(ending)
        assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert not _is_member(watching, "b", "mychannel")
        plan = a.plan()
        assert next(staying).asset_key == plan


def test_a_channel_that_is_gone_comes_back_with_its_history(watching: Server, file: Path) -> None:
    with Member(watching.address, "a") as a:
        plan = a.join().plan()
        file.write_text("channels: {other: [a]}\n")
        until(lambda: not _is_member(watching, "a", "mychannel"))
        file.write_text("channels: {mychannel: [a]}\n")
        until(lambda: _is_member(watching, "a", "mychannel"))
        second = a.plan()
        assert [event.asset_key for event in a.events(3)] == ["a", plan, second]


@pytest.mark.parametrize("content", ["channels: [a", "nothing: here", "channels: {c: [1]}", None])
def test_a_file_that_cannot_be_used_changes_nothing(
    watching: Server, file: Path, content: str | None
) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    watched = watching.watched[0]
    until(lambda: watched.failure != "")
    assert _is_member(watching, "b", "mychannel")
    file.write_text("channels: {mychannel: [a]}\n")
    until(lambda: not _is_member(watching, "b", "mychannel"))
    until(lambda: watched.failure == "")
    assert not _is_member(watching, "b", "mychannel")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe\x00", "channels.yaml"),
        (b"channels: {'': [a]}", "not a list"),
        (b"channels: {c: a}", "not a list"),
        (b"channels: {c: ['']}", "no text"),
        (b"channels: {c: ['" + b"x" * 101 + b"']}", "no text"),
        (b"- channels", "no mapping"),
    ],
)
def test_refusals_name_the_file_and_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(ChannelFileError, match=r"channels\.yaml") as refusal:
        parse_channels(Path("channels.yaml"), content)
    assert reason in str(refusal.value)
