"""What the ledger says happened, read from its own event stream as an organization would."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import grpc

from protos.orchestrator import common_pb2, computetask_pb2, event_pb2
from protos.orchestrator.event_pb2_grpc import EventServiceStub

DONE = computetask_pb2.ComputeTaskStatus.STATUS_DONE


def finishes(network: dict[str, Any], tasks: Iterable[str], timeout_s: float = 20) -> Counter[str]:
    """How often each task became DONE, by all events since the beginning.

    Reads until every task has been seen done; a second DONE of an earlier one would be among them.
    """
    wanted = set(tasks)
    counts: Counter[str] = Counter()
    metadata = (("mspid", network["organizations"][0]["msp_id"]), ("channel", "mychannel"))
    with grpc.insecure_channel(network["orchestrator"]) as channel:
        stream = EventServiceStub(channel).SubscribeToEvents(
            event_pb2.SubscribeToEventsParam(), metadata=metadata, timeout=timeout_s
        )
        for event in stream:
            if (
                event.asset_kind == common_pb2.AssetKind.ASSET_COMPUTE_TASK
                and event.asset_key in wanted
                and event.compute_task.status == DONE
            ):
                counts[event.asset_key] += 1
                if set(counts) == wanted:
                    break
    return counts
