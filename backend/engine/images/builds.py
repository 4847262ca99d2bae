"""The builder loop: functions of ours become images, one at a time, in order of registration (rule 12).

Every step may be repeated: a builder that was killed in the middle builds again, from its layer cache, without
failing the function. Same archive, same image: no second build.
"""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import structlog

from backend.engine.compute.chores import cancel_unneeded
from backend.engine.compute.decisions import back_off_s, clamp_microseconds, too_long
from backend.engine.compute.leases import heartbeat
from backend.engine.compute.queue import ATTEMPTS, Claimed, WorkQueue
from backend.engine.compute.results import AcceptedLog
from backend.engine.compute.tables import Kind
from backend.engine.compute.wakeups import Signal
from backend.engine.images.builder import Archive, ImageBuilder
from backend.engine.images.builds_store import BuildsStore, Source
from backend.engine.images.embedded import BuildFailed
from backend.engine.images.processes import BuildStopped
from backend.kit.database import Database
from backend.kit.wire import name_of
from backend.monitoring.counters import Counters
from backend.ports.ledger.client import ChannelLedger
from backend.ports.ledger.errors import LedgerError
from backend.ports.storage import Storage
from backend.settings import Settings
from protos.orchestrator import common_pb2, failure_report_pb2, function_pb2, profiling_pb2

log = structlog.get_logger()
BUILDING = "FUNCTION_STATUS_BUILDING"
READY = "FUNCTION_STATUS_READY"


class NotSaved(Exception):
    """The time limit of saving a built image passed."""


class Builds:
    """The builder of one organization."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        storage: Storage,
        ledger: Callable[[str], ChannelLedger],
        builder: ImageBuilder,
        canceled: Signal,
        counters: Counters,
    ) -> None:
        """`canceled` is fired when plans are canceled: running builds look whether they are still wanted."""
        self._settings = settings
        self._database = database
        self._storage = storage
        self._ledger = ledger
        self._builder = builder
        self._canceled = canceled
        self._counters = counters
        self._holder = uuid4()

    def inherit(self) -> None:
        """Go on with what a builder that died had begun, without waiting for the end of its lease."""
        with self._database.transaction(durable=False) as session:
            works = WorkQueue(session).inherit((Kind.BUILD,), self._holder)
        if works:
            log.info("builds_inherited", functions=[str(key) for _, key in works])

    def turn(self) -> bool:
        """Build one function; False when none waits."""
        with self._database.transaction(durable=False) as session:
            work = WorkQueue(session).claim((Kind.BUILD,), self._holder)
        if work is None:
            return False
        unneeded = partial(self._unneeded, work)
        try:
            with heartbeat(self._database, work, over=unneeded, signal=self._canceled) as stopped:
                self._build(work, stopped)
        except BuildStopped:
            log.info("build_stopped", function=str(work.key))
        except Exception as error:
            self._again(work, error)
            return True
        with self._database.transaction() as session:
            WorkQueue(session).settle(work)
        return True

    def _unneeded(self, work: Claimed) -> bool:
        """Cancel the function when only ended plans use it; True when that ends its build."""
        return cancel_unneeded(self._database, self._ledger(work.channel), work.key)

    def _build(self, work: Claimed, stopped: Callable[[], bool]) -> None:
        ledger, key = self._ledger(work.channel), str(work.key)
        status = name_of(function_pb2.FunctionStatus, ledger.function(key).status)
        if status not in ("FUNCTION_STATUS_WAITING", BUILDING):
            log.info("build_not_needed", function=key, status=status)
            return
        if cancel_unneeded(self._database, ledger, work.key):
            return
        if not self._to(ledger, key, function_pb2.FUNCTION_ACTION_BUILDING, BUILDING):
            return
        with self._database.transaction() as session:
            source = BuildsStore(session).source(work.key)
        if source is None:
            raise OSError("the function's row is not there yet")
        with self._log_path(work) as log_path:
            try:
                digest, seconds = self._image(work, source, log_path, stopped)
            except BuildFailed as failure:
                self._failed(work, ledger, failure)
                return
        self._save(work, ledger, digest, seconds)

    def _image(
        self, work: Claimed, source: Source, log_path: Path, stopped: Callable[[], bool]
    ) -> tuple[str, float]:
        """The manifest digest of the function's image, built or known, and how long that took."""
        started = time.monotonic()
        for digest in source.built:
            if self._builder.known(digest):
                log.info("build_reused", function=str(work.key), image=digest)
                return digest, time.monotonic() - started
        archive = Archive(self._storage, source.archive_file, source.archive_checksum)
        digest = self._builder.build(archive, log_path, stopped).manifest_digest
        log.info("function_built", function=str(work.key), image=digest)
        return digest, time.monotonic() - started

    def _save(self, work: Claimed, ledger: ChannelLedger, digest: str, seconds: float) -> None:
        started, key = time.monotonic(), str(work.key)
        with self._database.transaction() as session:
            store = BuildsStore(session)
            store.image(work.key, work.channel, digest)
            saving_s = store.saving_s(work.key)
        if too_long(saving_s, self._settings.IMAGE_SAVING_TIMEOUT_SECONDS):
            raise NotSaved(f"the image could not be saved for {saving_s:.0f} s")
        _profile(ledger, key, "build_image", seconds)
        self._tell(ledger, key, digest)
        if self._to(ledger, key, function_pb2.FUNCTION_ACTION_READY, READY):
            _profile(ledger, key, "save_function", time.monotonic() - started)

    def _tell(self, ledger: ChannelLedger, key: str, digest: str) -> None:
        """The image's digest and address; the wire wants the name again, which must not undo a new one.

        Events have one order: another name just before ours was given after we had asked.
        """
        address = self._settings.address(f"function/{key}/image/")
        image = common_pb2.Addressable(checksum=digest, storage_address=address)
        name: str | None = ledger.function(key).name
        sent: list[str] = []
        while name is not None:
            update = function_pb2.UpdateFunctionParam(key=key, name=name, image=image)
            ledger.update_function(update)
            sent.append(name)
            events = ledger.last_events(key, 2)
            name = undone([event.function.name for event in events], sent)

    def _to(
        self,
        ledger: ChannelLedger,
        key: str,
        action: "function_pb2.FunctionAction.ValueType",
        target: str,
    ) -> bool:
        """Move the function; there already is as good. False when it ended in another way."""
        try:
            ledger.apply_function_action(key, action)
        except LedgerError as error:
            if error.illegal_transition is None:
                raise
            if error.illegal_transition[1] != target:
                log.info("function_over", function=key, status=error.illegal_transition[1])
                return False
        return True

    def _failed(self, work: Claimed, ledger: ChannelLedger, failure: BuildFailed) -> None:
        """Store the log, then report: BUILD, with the words of the shell."""
        key = str(work.key)
        log.warning("build_failed", function=key, reason=failure.reason)
        with failure.log_path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        size = failure.log_path.stat().st_size
        stored = AcceptedLog(source=None, file=f"logs/{key}/log", checksum=checksum, size=size)
        self._storage.adopt(failure.log_path, stored.file)
        with self._database.transaction() as session:
            BuildsStore(session).log(work.key, work.channel, stored)
        report = failure_report_pb2.NewFailureReport(
            asset_key=key,
            asset_type=failure_report_pb2.FAILED_ASSET_FUNCTION,
            error_type=failure_report_pb2.ERROR_TYPE_BUILD,
            logs_address=common_pb2.Addressable(
                checksum=stored.checksum,
                storage_address=self._settings.address(f"logs/{key}/file/"),
            ),
        )
        _report(ledger, report)

    def _again(self, work: Claimed, error: Exception) -> None:
        """Not the user's fault: repeat with a back-off, at last an INTERNAL failure."""
        log.warning(
            "build_repeated", function=str(work.key), attempt=work.attempts, error=repr(error)
        )
        unreachable = isinstance(error, LedgerError) and error.outcome_unknown
        worn = work.attempts >= ATTEMPTS and not unreachable
        if worn or isinstance(error, NotSaved):
            log.error("build_given_up", function=str(work.key), reason=repr(error))
            ledger = self._ledger(work.channel)
            try:
                self._to(ledger, str(work.key), function_pb2.FUNCTION_ACTION_BUILDING, BUILDING)
                _report(
                    ledger,
                    failure_report_pb2.NewFailureReport(
                        asset_key=str(work.key),
                        asset_type=failure_report_pb2.FAILED_ASSET_FUNCTION,
                        error_type=failure_report_pb2.ERROR_TYPE_INTERNAL,
                    ),
                )
            except LedgerError as refusal:
                log.warning("report_later", function=str(work.key), error=refusal.details)
            else:
                with self._database.transaction() as session:
                    WorkQueue(session).settle(work)
                return
        name = self._settings.NAME
        self._counters.add("celery_tasks_retried", hostname=name, name="build_image")
        with self._database.transaction() as session:
            WorkQueue(session).retry(
                work,
                str(error) or repr(error),
                after_s=back_off_s(work.attempts, most=30),
                cause=str(error)[:500],
                counted=not unreachable,
            )

    @contextmanager
    def _log_path(self, work: Claimed) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="build-", dir=self._storage.scratch()))
        try:
            yield folder / f"{work.key}.log"
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _report(ledger: ChannelLedger, report: failure_report_pb2.NewFailureReport) -> None:
    """Register a failure report of a function; one that is there, or a function that ended, is fine."""
    try:
        ledger.register_failure_report(report)
    except LedgerError as error:
        if not error.already_exists and error.illegal_transition is None:
            raise


def _profile(ledger: ChannelLedger, key: str, step: str, seconds: float) -> None:
    """A step of the build; losing it is no reason to fail."""
    try:
        ledger.register_profiling_step(
            profiling_pb2.ProfilingStep(
                asset_key=key, step=step, duration=clamp_microseconds(seconds)
            )
        )
    except LedgerError as error:
        log.warning("profiling_lost", function=key, step=step, error=error.details)


def undone(newest: Sequence[str], sent: Sequence[str]) -> str | None:
    """The name that the last of `sent` replaced without wanting to; None: there is none.

    `newest`: names in the function's newest events, newest first. Pure.
    """
    if len(newest) < 2 or newest[0] != sent[-1] or newest[1] in sent:
        return None
    return newest[1]
