"""Counts of database statements, with django-prometheus' names; for the processes that serve requests."""

import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, ExceptionContext

from backend.monitoring.counters import Counters

ALIAS, VENDOR = "default", "postgresql"
CONNECTIONS = "django_db_new_connections"
EXECUTED = "django_db_execute"
EXECUTED_MANY = "django_db_execute_many"
ERRORS = "django_db_errors"
SECONDS = "django_db_query_duration_seconds"
_BEGAN = "substra_began"


def count_queries(engine: Engine, counters: Counters) -> None:
    """Count what goes through this engine from now on."""

    def connected(connection: Any, record: Any) -> None:
        counters.add(CONNECTIONS, alias=ALIAS, vendor=VENDOR)

    def begins(
        connection: Connection, cursor: Any, statement: str, given: Any, context: Any, many: bool
    ) -> None:
        connection.info[_BEGAN] = time.perf_counter()
        counters.add(EXECUTED_MANY if many else EXECUTED, alias=ALIAS, vendor=VENDOR)

    def ends(
        connection: Connection, cursor: Any, statement: str, given: Any, context: Any, many: bool
    ) -> None:
        began = connection.info.pop(_BEGAN, None)
        if began is not None:
            counters.observe(SECONDS, time.perf_counter() - began, alias=ALIAS, vendor=VENDOR)

    def failed(context: ExceptionContext) -> None:
        kind = type(context.original_exception).__name__
        counters.add(ERRORS, alias=ALIAS, vendor=VENDOR, type=kind)

    event.listen(engine, "connect", connected)
    event.listen(engine, "before_cursor_execute", begins)
    event.listen(engine, "after_cursor_execute", ends)
    event.listen(engine, "handle_error", failed)
