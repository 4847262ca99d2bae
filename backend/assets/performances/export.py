"""Performances as CSV (rest-api.md 14.2).

The rows are written to a temporary file before the answer begins: a slow reader holds no connection, memory
does not grow with the table, and what fails on the way fails with a status.
"""

import csv
from collections.abc import Iterator
from datetime import datetime
from io import TextIOWrapper
from tempfile import SpooledTemporaryFile
from typing import Any, Final

import orjson
from fastapi.responses import Response, StreamingResponse
from sqlalchemy import Row

from backend.access.caller import Caller
from backend.assets.performances import store
from backend.kit.errors import Invalid
from backend.kit.parameters import Parameters, listed
from backend.node import Node

PLAN_COLUMNS: Final = (
    *("compute_plan_key", "compute_plan_name", "compute_plan_tag", "compute_plan_status"),
    *("compute_plan_start_date", "compute_plan_end_date"),
)
TASK_COLUMNS: Final = ("identifier", "worker", "task_rank", "task_round", "performance")
MOST_METADATA_COLUMNS = 200
IN_MEMORY = 1024 * 1024  # bytes; larger exports go to the disk
CHUNK = 256 * 1024
HEADERS = {
    "Content-Disposition": 'attachment; filename="compute_plans.csv"',
    "Access-Control-Expose-Headers": "Content-Disposition",
}


class PerformanceExport:
    def __init__(self, node: Node, caller: Caller) -> None:
        self._node = node
        self._channel = caller.channel

    def answer(self, parameters: Parameters) -> Response:
        """Every performance that the filters leave, ordered as the list is.

        Raises:
            Invalid: a malformed filter, or too many metadata columns (400).
        """
        columns = listed(parameters, "metadata_columns")
        if len(columns) > MOST_METADATA_COLUMNS:
            message = f"At most {MOST_METADATA_COLUMNS} columns."
            raise Invalid({"metadata_columns": [message]})
        file = SpooledTemporaryFile[bytes](max_size=IN_MEMORY)
        try:
            self._write(file, columns, parameters)
        except BaseException:
            file.close()
            raise
        return StreamingResponse(_chunks(file), media_type="text/csv", headers=HEADERS)

    def _write(
        self, file: SpooledTemporaryFile[bytes], columns: list[str], parameters: Parameters
    ) -> None:
        text = TextIOWrapper(file, "utf-8", newline="", write_through=True)
        lines = csv.writer(text)
        lines.writerow([*PLAN_COLUMNS, *columns, *TASK_COLUMNS])
        with self._node.database.transaction(durable=False) as session:
            for row in store.every(session, self._channel, parameters):
                lines.writerow(_cells(row, columns))
        text.detach()
        file.seek(0)


def _cells(row: Row[Any], columns: list[str]) -> list[Any]:
    metadata = orjson.loads(row.compute_plan_metadata) if columns else {}
    values = row._mapping
    return [
        *(_text(values[name]) for name in PLAN_COLUMNS),
        *(metadata.get(name, "") for name in columns),
        *(values[name] for name in TASK_COLUMNS),
    ]


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return "" if value is None else str(value)


def _chunks(file: SpooledTemporaryFile[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk
