"""The ledger's events as they come."""

import contextlib
from collections.abc import Callable, Iterator
from typing import cast

import grpc

from backend.ports.ledger.errors import LedgerError
from protos.orchestrator import event_pb2


class EventStream:
    """An open event stream; iterating blocks, `cancel` from another thread ends it."""

    def __init__(
        self, call: "grpc.CallIterator[event_pb2.Event]", broken: Callable[[], None]
    ) -> None:
        """`broken` is called when the connection fails."""
        self._call = call
        self._broken = broken

    def __iter__(self) -> Iterator[event_pb2.Event]:
        try:
            yield from self._call
        except grpc.RpcError as error:
            refused = LedgerError.of(cast("grpc.Call", error))
            if refused.code is grpc.StatusCode.CANCELLED:
                return
            if refused.code is grpc.StatusCode.UNAVAILABLE:
                self._broken()
            raise refused from None

    def cancel(self) -> None:
        with contextlib.suppress(Exception):
            cast("grpc.Future[object]", self._call).cancel()
