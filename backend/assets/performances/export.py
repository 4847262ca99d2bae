"""Performances as CSV (rest-api.md 14.2).

The rows are written to a temporary file before the answer begins: a slow reader holds no connection, memory
does not grow with the table, and what fails on the way fails with a status.
"""

import csv
import hashlib
from collections.abc import Iterator
from datetime import datetime
from io import TextIOWrapper
from tempfile import SpooledTemporaryFile
from typing import Any, Final

import orjson
from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from sqlalchemy import Row

from backend.access.caller import Caller
from backend.assets.downloads import EXPOSED, GUARDED
from backend.assets.performances import store
from backend.assets.stored_answer import asked_range
from backend.kit.answers import has_tag
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
    "Accept-Ranges": "bytes",
    **EXPOSED,
    **GUARDED,
}


class PerformanceExport:
    def __init__(self, node: Node, caller: Caller) -> None:
        self._node = node
        self._channel = caller.channel

    def answer(self, request: Request, parameters: Parameters) -> Response:
        """Every performance that the filters leave, ordered as the list is; 304 while they are the same ones.

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
            return _sent(file, request)
        except BaseException:
            file.close()
            raise

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


def _sent(file: SpooledTemporaryFile[bytes], request: Request) -> Response:
    """The file, or the range of it that is asked for; its tag is a digest of its bytes."""
    size = file.tell()
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    headers = {**HEADERS, "ETag": f'"{digest.hexdigest()}"'}
    if has_tag(request, headers["ETag"]):
        file.close()
        return Response(None, 304, headers)
    span = asked_range(request.headers.get("range", ""), size)
    if request.headers.get("if-range") not in (None, headers["ETag"]) or request.scope.get(
        "substra.head"
    ):
        span = None
    if span is None:
        return _part(file, 0, size, 200, headers)
    first, last = span
    if first > last:
        file.close()
        return Response(None, 416, {"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return _part(file, first, last - first + 1, 206, headers)


def _part(
    file: SpooledTemporaryFile[bytes], first: int, length: int, status: int, headers: dict[str, str]
) -> Response:
    return StreamingResponse(
        _chunks(file, first, length),
        status,
        {**headers, "Content-Length": str(length)},
        media_type="text/csv",
    )


def _chunks(file: SpooledTemporaryFile[bytes], first: int, length: int) -> Iterator[bytes]:
    with file:
        file.seek(first)
        while length and (chunk := file.read(min(CHUNK, length))):
            length -= len(chunk)
            yield chunk
