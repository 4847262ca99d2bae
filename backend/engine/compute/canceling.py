"""Cancel many tasks on the ledger: one call each (rule 6), many side by side.

The ledger commits together what arrives together, so a thousand calls cost a few of its commits; one after the
other each of them waits for a commit of its own.
"""

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from uuid import UUID

from backend.ports.ledger.client import ChannelLedger
from backend.ports.ledger.errors import LedgerError
from protos.orchestrator import computetask_pb2

SIDE_BY_SIDE = 32


@dataclass(slots=True)
class Canceled:
    """What became of the calls. `over`: tasks that are final now; `error`: why others are not."""

    over: set[UUID] = field(default_factory=set)
    error: LedgerError | None = None


def cancel_tasks(
    ledger: ChannelLedger,
    tasks: Collection[UUID],
    reason: str,
    stopped: Callable[[], bool] = lambda: False,
) -> Canceled:
    """Ask for all of them. A task that ended meanwhile, however, is over too.

    Once the ledger does not answer, or `stopped` says so, no more calls are made.
    """
    found = Canceled()

    def cancel(task: UUID) -> None:
        if stopped() or (found.error is not None and found.error.outcome_unknown):
            return
        try:
            ledger.apply_task_action(str(task), computetask_pb2.TASK_ACTION_CANCELED, reason)
        except LedgerError as error:
            if error.illegal_transition is None:
                found.error = error
                return
        found.over.add(task)

    if len(tasks) == 1:
        cancel(*tasks)
    elif tasks:
        with ThreadPoolExecutor(min(SIDE_BY_SIDE, len(tasks)), "cancel") as pool:
            list(pool.map(cancel, tasks))
    return found
