"""Tell the ledger what became of a task, from its outbox row, as often as needed (rules 1 to 3).

Every step may be repeated: what the ledger has already counts as success, so a crash at any line is resumed
from the row. The order is the contract's: performances, models in one call, DONE; a failure: log, report.
"""

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from backend.assets.models import events as models_of_the_ledger
from backend.assets.tasks.states import FINAL, TaskStatus
from backend.engine.compute import chainkeys, decisions
from backend.engine.compute.ahead import AheadStore
from backend.engine.compute.decisions import Answer, back_off_s
from backend.engine.compute.outbox import Entry, OutboxStore
from backend.engine.compute.results import LOG, Accepted, AcceptedLog, AcceptedModel
from backend.engine.task_logs.kept import KeptLogs, keep_stored
from backend.kit.database import Database
from backend.kit.wire import name_of
from backend.ports.ledger.client import ChannelLedger
from backend.ports.ledger.errors import LedgerError
from backend.ports.storage import Storage, StoredFileMissing
from backend.settings import Settings
from protos.orchestrator import (
    common_pb2,
    computetask_pb2,
    failure_report_pb2,
    model_pb2,
    performance_pb2,
)

log = structlog.get_logger()
_ERROR_TYPES = {
    "EXECUTION": failure_report_pb2.ERROR_TYPE_EXECUTION,
    "INTERNAL": failure_report_pb2.ERROR_TYPE_INTERNAL,
}


class Again(Exception):
    """The outcome of a step is unknown, or its time has not come: repeat later."""


class Over(Exception):
    """The task is canceled or failed on the ledger: the rest has no addressee."""


class Finished(Exception):
    """The task is DONE on the ledger: an earlier report came through to its end."""


class Broken(Exception):
    """The result cannot be registered; the task fails with this reason."""


class Lost(Broken):
    """An output's file did not outlive the machine's last cut of power: nobody heard of the result yet."""


class Reporter:
    """Reports the results of one organization. Holds no state: the row and the ledger have it all."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        storage: Storage,
        ledger: Callable[[str], ChannelLedger],
    ) -> None:
        self._settings = settings
        self._database = database
        self._storage = storage
        self._ledger = ledger
        self._kept = KeptLogs(settings.MEDIA_ROOT, settings.TASK_LOG_RETENTION)
        self._outbox = settings.MEDIA_ROOT / "outbox"

    def report(self, entry: Entry) -> bool:
        """Report one result; True when the ledger knows all of it, False when it is to be repeated later."""
        try:
            self._report(entry)
        except Over as over:
            log.warning("result_without_addressee", task=str(entry.task), reason=str(over))
            self._forget(entry)
        except Finished:
            log.info("result_known", task=str(entry.task))
        except Lost as lost:
            self._run_again(entry, str(lost))
            return False
        except Broken as broken:
            self._fail(entry, str(broken))
            return False
        except (Again, LedgerError, OSError) as error:
            self._later(entry, error)
            return False
        with self._database.transaction(durable=False) as session:
            OutboxStore(session).finish(entry.task)
        self._sweep(entry)
        return True

    def store(self, entry: Entry) -> None:
        """Take over what children read; done before is as good. Raises Lost, Broken, OSError."""
        chain = entry.accepted.chainkeys
        if entry.resumed and chain is None:  # the next step of keys cannot be taken twice
            for model in entry.accepted.models:
                self._check(entry.task, model)
        if chain is not None:
            chainkeys.keep(Path(chain.source), Path(chain.target))
        for model in entry.accepted.models:
            self._adopt(model.source, model.file)

    def _check(self, task: UUID, model: AcceptedModel) -> None:
        """A result is committed before its files are flushed, so power may leave the one without the others."""
        if model.source.startswith("/") and not self._storage.exists(model.file):
            path = Path(model.source)
            if not path.exists() or _checksum(path, task) != model.checksum:
                raise Lost(f"the file of output {model.identifier!r} was lost")

    def resume(self) -> bool:
        """Report one result that nobody reports at the moment; False when there is none."""
        with self._database.transaction() as session:
            entry = OutboxStore(session).claim()
        if entry is None:
            return False
        log.info("report_resumed", task=str(entry.task), attempts=entry.attempts)
        self.report(entry)
        return True

    def _report(self, entry: Entry) -> None:
        ledger = self._ledger(entry.channel)
        accepted = entry.accepted
        if accepted.failure is not None:
            self._report_failure(entry, ledger)
            return
        self.store(entry)
        for performance in accepted.performances:
            new = performance_pb2.NewPerformance(
                compute_task_key=str(entry.task),
                performance_value=float(performance.value),
                compute_task_output_identifier=performance.identifier,
            )
            self._step(entry, ledger, lambda new=new: ledger.register_performance(new))  # type: ignore[misc]
        if accepted.models:
            self._register_models(entry, ledger)
        self._done(entry, ledger)

    def _register_models(self, entry: Entry, ledger: ChannelLedger) -> None:
        """All models in one call; their rows are ours before DONE makes other organizations ask for them."""
        new = [self._new_model(entry, model) for model in entry.accepted.models]
        models: list[model_pb2.Model] = []
        if self._step(entry, ledger, lambda: models.extend(ledger.register_models(new))):
            models = [ledger.model(model.key) for model in new]
        sent = {str(model.key): model.checksum for model in entry.accepted.models}
        if any(m.address.checksum not in ("", sent[m.key]) for m in models):
            raise Broken("the ledger has another model under this key")
        with self._database.transaction(durable=False) as session:
            models_of_the_ledger.register(session, entry.channel, models)

    def _new_model(self, entry: Entry, model: AcceptedModel) -> model_pb2.NewModel:
        return model_pb2.NewModel(
            key=str(model.key),
            compute_task_key=str(entry.task),
            compute_task_output_identifier=model.identifier,
            address=common_pb2.Addressable(
                checksum=model.checksum,
                storage_address=self._settings.address(f"model/{model.key}/file/"),
            ),
        )

    def _step(self, entry: Entry, ledger: ChannelLedger, call: Callable[[], object]) -> bool:
        """One registration; True when the ledger had it already (OE0006)."""
        try:
            call()
        except LedgerError as error:
            if error.already_exists:
                return True
            if error.outcome_unknown:
                raise Again(error.details) from None
            self._refused(entry, ledger, error)
        return False

    def _refused(self, entry: Entry, ledger: ChannelLedger, error: LedgerError) -> None:
        """A definite refusal: because of the task's status, or of the result itself?"""
        status = name_of(computetask_pb2.ComputeTaskStatus, ledger.task(str(entry.task)).status)
        if status == TaskStatus.DONE:
            raise Finished
        if status in set(FINAL):
            raise Over(status)
        if status != TaskStatus.EXECUTING:
            self._executing(entry, ledger)
            raise Again(f"the task was {status}")
        raise Broken(f"the ledger refused the result: {error.details}")

    def _done(self, entry: Entry, ledger: ChannelLedger) -> None:
        try:
            ledger.apply_task_action(
                str(entry.task), computetask_pb2.TASK_ACTION_DONE, "task completed"
            )
        except LedgerError as error:
            answer = decisions.done(error.illegal_transition, unknown=error.outcome_unknown)
            if answer is Answer.OVER:
                raise Over(error.details) from None
            if answer is not Answer.SUCCESS:
                raise Again(error.details) from None

    def _executing(self, entry: Entry, ledger: ChannelLedger) -> None:
        try:
            ledger.apply_task_action(
                str(entry.task), computetask_pb2.TASK_ACTION_EXECUTING, "task started"
            )
        except LedgerError as error:
            answer = decisions.executing(error.illegal_transition, unknown=error.outcome_unknown)
            if answer is Answer.OVER or (answer is Answer.EARLY and self._hopeless(entry)):
                raise Over(error.details) from None
            if answer is not Answer.SUCCESS:
                raise Again(error.details) from None

    def _hopeless(self, entry: Entry) -> bool:
        """Whether the task ran ahead of parents that came to nothing."""
        with self._database.reading() as connection:
            return AheadStore(connection).hopeless(entry.task)

    def _report_failure(self, entry: Entry, ledger: ChannelLedger) -> None:
        accepted, key = entry.accepted, str(entry.task)
        if not accepted.executing:
            self._executing(entry, ledger)
        report = failure_report_pb2.NewFailureReport(
            asset_key=key,
            asset_type=failure_report_pb2.FAILED_ASSET_COMPUTE_TASK,
            error_type=_ERROR_TYPES[accepted.failure or "INTERNAL"],
        )
        if accepted.log is not None:
            self._store_log(accepted.log)
            report.logs_address.checksum = accepted.log.checksum
            report.logs_address.storage_address = self._settings.address(f"logs/{key}/file/")
        self._step(entry, ledger, lambda: ledger.register_failure_report(report))

    def _store_log(self, stored: AcceptedLog) -> None:
        if stored.source is not None:
            self._adopt(stored.source, stored.file)
        elif not self._storage.exists(stored.file):
            with self._storage.writer() as writer:
                writer.commit(stored.file)

    def _adopt(self, source: str, key: str) -> None:
        """Take a file over from the runner's outbox, or from where a pod put it; done before is as good."""
        if not source.startswith("/"):
            self._take_over(source, key)
            return
        path = Path(source)
        if path.exists():
            self._storage.adopt(path, key)
        elif not self._storage.exists(key):
            raise Broken("an output file vanished before it was stored")

    def _take_over(self, source: str, key: str) -> None:
        """By a copy, since the pod could write to its own address later too."""
        if self._storage.exists(key):
            return
        try:
            self._storage.copy(source, key)
        except StoredFileMissing:
            raise Broken("an output file vanished before it was stored") from None

    def _fail(self, entry: Entry, reason: str) -> None:
        log.error("result_broken", task=str(entry.task), reason=reason)
        self._delete(entry.accepted.models)
        failed = Accepted(failure="INTERNAL", reason=reason)
        with self._database.transaction() as session:
            store = OutboxStore(session)
            store.replace(entry.task, entry.channel, failed)
            store.later(entry.task, reason, 0.0)

    def _run_again(self, entry: Entry, reason: str) -> None:
        """The one exception to rule 1: what was committed is not there, and the ledger was told nothing."""
        models = [model.key for model in entry.accepted.models]
        with self._database.transaction() as session:
            again = OutboxStore(session).withdraw(
                entry.task, models, reason, self._settings.TASK_RETRIES
            )
        if again:
            log.warning("result_lost", task=str(entry.task), reason=reason)
            self._sweep(entry)
        else:
            self._fail(entry, reason)

    def _later(self, entry: Entry, error: Exception) -> None:
        reason = str(error) or repr(error)
        log.warning("report_later", task=str(entry.task), attempts=entry.attempts, error=reason)
        with contextlib.suppress(SQLAlchemyError), self._database.transaction() as session:
            OutboxStore(session).later(entry.task, reason, back_off_s(entry.attempts, most=30))

    def _forget(self, entry: Entry) -> None:
        """Files of models that the ledger will never know go; those that it has registered stay (rule 3)."""
        ledger = self._ledger(entry.channel)
        unknown = []
        for model in entry.accepted.models:
            try:
                ledger.model(str(model.key))
            except LedgerError as error:
                if error.not_found:
                    unknown.append(model)
        self._delete(unknown)

    def _delete(self, models: Sequence[AcceptedModel]) -> None:
        if not models:
            return
        for model in models:
            self._storage.delete(model.file)
        with self._database.transaction() as session:
            OutboxStore(session).forget_models([model.key for model in models])

    def _sweep(self, entry: Entry) -> None:
        if entry.accepted.kept is not None:
            self._kept.keep(entry.task, Path(entry.accepted.kept))
        shutil.rmtree(self._outbox / str(entry.task), ignore_errors=True)
        if entry.accepted.arrived is not None:
            if not entry.accepted.failure and self._kept.retention_s:
                keep_stored(self._storage, entry.task, f"{entry.accepted.arrived}/{LOG}")
            with contextlib.suppress(OSError):  # the janitor removes it
                for key in list(self._storage.keys(entry.accepted.arrived)):
                    self._storage.delete(key)


def _checksum(path: Path, task: UUID) -> str:
    """That of a model: its bytes and its task's key."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(str(task).encode("ascii"))
    return digest.hexdigest()
