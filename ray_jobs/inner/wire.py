"""Messages between a runner and its children: a length, JSON, and descriptors beside the first byte.

Runs inside users' environments: Python 3.9 or newer, standard library only.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

_LENGTH = struct.Struct("!I")
_LONGEST = 4 << 20  # bytes: environment variables and paths fit many times over
_MOST_DESCRIPTORS = 4


class BrokenMessage(Exception):
    """The other side closed its end in the middle, or sent what is no message."""


def send(
    connection: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()
) -> None:
    """Send one message. Raises OSError."""
    body = json.dumps(message).encode()
    data = _LENGTH.pack(len(body)) + body
    ancillary = []
    if descriptors:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    sent = connection.sendmsg([data], ancillary)
    if sent < len(data):
        connection.sendall(data[sent:])


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """One message and its descriptors (ours to close), or None at the end of the stream.

    Raises:
        BrokenMessage: cut off, too long, or not a JSON object.
        OSError: `TimeoutError` among them (`socket.timeout` before Python 3.10).
    """
    space = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)
    head, ancillary, _flags, _address = connection.recvmsg(_LENGTH.size, space)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    try:
        if not head:
            return None
        (length,) = _LENGTH.unpack(head + _exactly(connection, _LENGTH.size - len(head)))
        if length > _LONGEST:
            raise BrokenMessage(f"a message of {length} bytes")
        message = json.loads(_exactly(connection, length))
        if not isinstance(message, dict):
            raise BrokenMessage("a message is an object")
    except (BrokenMessage, OSError, ValueError) as error:
        for descriptor in descriptors:
            os.close(descriptor)
        if isinstance(error, ValueError):
            raise BrokenMessage("a message is JSON") from error
        raise
    return message, list(descriptors)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise BrokenMessage("cut off")
        data += part
    return bytes(data)
