"""The HTTP client between organizations.

The address is the configured URL of the owner plus a path built from kind and key: a registered storage
address is never followed, for it would send our secret wherever an owner wrote (rule 27).
"""

import contextlib
import hashlib
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog
from anyio import to_thread
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential
from tenacity.stop import stop_base

from backend.kit.errors import PeerUnreachable
from backend.ports.exchange.errors import PeerRefused, TransferStopped, WrongChecksum
from backend.ports.exchange.ranges import PARALLEL_FROM, Ranges, discard, received
from backend.ports.exchange.unwanted import Unwanted
from backend.settings import PeerSettings, Settings

log = structlog.get_logger(__name__)
CHUNK = 256 * 1024
ATTEMPTS = 3
Peers = Callable[[str, str], PeerSettings | None]  # (organization, channel) -> how to call it
PASSED_ON = {401, 403, 404, 410}


class Exchange:
    """Downloads from other organizations. Thread-safe; nothing is opened before the first use."""

    def __init__(self, settings: Settings, stored: Peers | None = None) -> None:
        """`stored` is asked first for an organization's address and secret, then the settings."""
        self._own = settings.MSP_ID
        self._peers: dict[str, PeerSettings] = dict(settings.PEERS)
        self._stored = stored
        self._timeout = httpx.Timeout(settings.HTTP_CLIENT_TIMEOUT_SECONDS, connect=10.0)
        self._tls: ssl.SSLContext | None = None

    def close(self) -> None:
        """Nothing stays open between two calls."""

    # ------------------------------------------------------------------ for a user's download
    @asynccontextmanager
    async def stream(
        self, owner: str, channel: str, path: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """The owner's open answer (2xx, 304 or 416) to a download made for one of our users.

        Raises:
            PeerRefused: 401, 403, 404 or 410 of the owner.
            PeerUnreachable: no answer, or any other one (504).
        """
        url, common, auth = await to_thread.run_sync(self._request, owner, channel, path)
        common = {**common, **(headers or {}), "Substra-Proxy-Asset": "True"}
        async with httpx.AsyncClient(**self._options(url), timeout=self._timeout) as client:
            request = client.build_request("GET", url, headers=common)
            try:
                response = await client.send(request, auth=auth, stream=True)
                if response.is_error and response.status_code != 416:
                    await _short(response)
            except httpx.HTTPError as error:
                log.warning("peer_unreachable", owner=owner, error=repr(error))
                raise PeerUnreachable from None
            try:
                if response.status_code in (304, 416):
                    yield response
                else:
                    yield _accepted(response)
            finally:
                await response.aclose()

    # ------------------------------------------------------------------ for a task's input
    def fetch(
        self,
        owner: str,
        channel: str,
        path: str,
        target: Path,
        checksum: str,
        salt: bytes = b"",
        stopped: Callable[[], bool] = lambda: False,
    ) -> int:
        """Bring a file to `target` (whose folder exists) and verify it; returns its size in bytes.

        What was received before a cut is kept beside the target and continued by the next call. A large file
        comes in several ranges at once. `checksum` is the SHA-256 in hex of the bytes followed by `salt` (a
        model's task key, rest-api.md 18).

        Raises:
            PeerRefused: 401, 403, 404 or 410 of the owner; `final` tells whether to give up (rule 44).
            PeerUnreachable: no answer, a cut that repeats without progress, or a server error.
            WrongChecksum: all bytes came, and they are not the ones named.
            TransferStopped: `stopped`, which is asked again and again, said so.
        """
        part = target.with_name(f".{target.name}.{checksum[:16]}.part")
        with Unwanted(stopped) as unwanted:
            for attempt in Retrying(
                retry=retry_if_exception_type(PeerUnreachable),
                stop=_Stalled(part),
                wait=wait_exponential(multiplier=0.1, max=1),
                reraise=True,
            ):
                with attempt:
                    if stopped():
                        raise TransferStopped
                    self._receive(owner, channel, path, part, checksum, stopped, unwanted)
        return self._settle(part, target, checksum, salt, stopped)

    def _receive(
        self,
        owner: str,
        channel: str,
        path: str,
        part: Path,
        checksum: str,
        stopped: Callable[[], bool],
        unwanted: Unwanted,
    ) -> None:
        """What is missing, appended to `part`, or all of it when the owner knows no ranges."""
        ranges = Ranges.open(part)
        if ranges is not None:
            self._receive_ranges(owner, channel, path, ranges, checksum, stopped, unwanted)
            return
        url, headers, auth = self._request(owner, channel, path)
        have = received(part)
        if have:
            headers["Range"] = f"bytes={have}-"
            headers["If-Range"] = f'"{checksum}"'
        try:
            with (
                httpx.Client(**self._options(url), timeout=self._timeout) as client,
                client.stream(
                    "GET", url, headers=headers, auth=auth, extensions=unwanted.extensions
                ) as response,
            ):
                if response.status_code == 416 and have:  # all of it was there already
                    return
                if response.is_error:
                    response.read()
                _accepted(response)
                resumed = response.status_code == 206 and _starts_at(response) == have
                if response.status_code == 206 and not resumed:
                    raise PeerUnreachable("The owner answered with another range than asked for")
                total = _divisible(response, have if resumed else 0)
                if total:
                    ranges = Ranges.begin(part, have if resumed else 0, total)
                    response.close()
                    self._receive_ranges(owner, channel, path, ranges, checksum, stopped, unwanted)
                    return
                with part.open("ab" if resumed else "wb") as file:
                    for chunk in response.iter_raw():  # as it comes: a cut loses nothing received
                        file.write(chunk)
                        if stopped():
                            raise TransferStopped
        except httpx.HTTPError as error:
            log.warning("peer_unreachable", owner=owner, path=path, error=repr(error))
            raise PeerUnreachable from None

    def _receive_ranges(
        self,
        owner: str,
        channel: str,
        path: str,
        ranges: Ranges,
        checksum: str,
        stopped: Callable[[], bool],
        unwanted: Unwanted,
    ) -> None:
        url, common, auth = self._request(owner, channel, path)

        def read(start: int, end: int) -> Iterator[bytes]:
            asked = {"Range": f"bytes={start}-{end - 1}", "If-Range": f'"{checksum}"'}
            headers, extensions = {**common, **asked}, unwanted.extensions
            with client.stream(
                "GET", url, headers=headers, auth=auth, extensions=extensions
            ) as response:
                if response.is_error:
                    response.read()
                _accepted(response)
                if response.status_code != 206 or _starts_at(response) != start:
                    raise PeerUnreachable("The owner answered with another range than asked for")
                for chunk in response.iter_raw():
                    if stopped():
                        raise TransferStopped
                    yield chunk

        try:
            with httpx.Client(**self._options(url), timeout=self._timeout) as client:
                ranges.fill(read)
        except httpx.HTTPError as error:
            log.warning("peer_unreachable", owner=owner, path=path, error=repr(error))
            raise PeerUnreachable from None
        ranges.forget()

    def _settle(
        self, part: Path, target: Path, checksum: str, salt: bytes, stopped: Callable[[], bool]
    ) -> int:
        digest = hashlib.sha256()
        with part.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                if stopped():
                    raise TransferStopped
            size = file.tell()
            os.fsync(file.fileno())
        digest.update(salt)
        if digest.hexdigest() != checksum:
            discard(part)
            raise WrongChecksum
        part.replace(target)
        return size

    # ------------------------------------------------------------------ for whoever looks for a fault
    def address(self, owner: str, channel: str) -> str | None:
        """Where an organization is called; None when no secret or no address is known."""
        peer = self._peer(owner, channel)
        return None if peer is None else peer.url

    def ask(
        self, owner: str, channel: str, path: str, *, credentials: bool = True
    ) -> httpx.Response:
        """One short GET; whatever is answered is the answer.

        Raises:
            PeerUnreachable: no secret or no address. httpx.HTTPError: nothing was answered.
        """
        url, headers, auth = self._request(owner, channel, path)
        with httpx.Client(**self._options(url), timeout=self._timeout) as client:
            return client.get(url, headers=headers, auth=auth if credentials else None)

    # ------------------------------------------------------------------ requests
    def _peer(self, owner: str, channel: str) -> PeerSettings | None:
        peer = self._stored(owner, channel) if self._stored else None
        peer = peer or self._peers.get(owner)
        return peer if peer is not None and peer.outgoing else None

    def _request(
        self, owner: str, channel: str, path: str
    ) -> tuple[str, dict[str, str], httpx.BasicAuth]:
        peer = self._peer(owner, channel)
        if peer is None:
            raise PeerUnreachable(f"No address and secret are configured for organization {owner}")
        url = peer.url.rstrip("/") + "/" + path.lstrip("/")
        headers = {
            "Accept": "application/json;version=0.0",
            "Accept-Encoding": "identity",  # checksums and ranges are of the bytes themselves
            "Substra-Channel-Name": channel,
        }
        return url, headers, httpx.BasicAuth(self._own, peer.outgoing)

    def _options(self, url: str) -> dict[str, Any]:
        """Redirects would carry the secret away, and a proxy has nothing to do with loopback."""
        parts = urlsplit(url)
        verify: ssl.SSLContext | bool = False
        if parts.scheme == "https":
            if self._tls is None:
                self._tls = httpx.create_ssl_context()
            verify = self._tls
        loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
        return {"follow_redirects": False, "trust_env": not loopback, "verify": verify}


class _Stalled(stop_base):
    """Stop after three attempts in a row that brought nothing: a cut that made progress is no failure."""

    def __init__(self, part: Path) -> None:
        self._part = part
        self._size = received(part)
        self._failures = 0

    def __call__(self, retry_state: RetryCallState) -> bool:
        size = received(self._part)
        self._failures = 0 if size > self._size else self._failures + 1
        self._size = size
        return self._failures >= ATTEMPTS


async def _short(response: httpx.Response) -> None:
    """Read at most the beginning of an error's body."""
    await response.aread()


def _accepted(response: httpx.Response) -> httpx.Response:
    """The answer itself when it is 2xx.

    Raises:
        PeerRefused, PeerUnreachable: as `Exchange.fetch` says.
    """
    status = response.status_code
    if status in PASSED_ON:
        raise PeerRefused(status, _detail(response))
    if not response.is_success:
        raise PeerUnreachable(f"The organization that holds this file answered {status}")
    return response


def _detail(response: httpx.Response) -> object:
    with contextlib.suppress(ValueError):
        body = response.json()
        if isinstance(body, dict) and "detail" in body:
            return body["detail"]
    return response.reason_phrase or "Refused by the organization that holds this file"


def _divisible(response: httpx.Response, have: int) -> int:
    """The size of a file whose rest is worth several ranges; 0 when it is not, or the owner gives none."""
    length = response.headers.get("content-length", "")
    known = length.isdigit() and response.headers.get("accept-ranges") == "bytes"
    return have + int(length) if known and int(length) >= PARALLEL_FROM else 0


def _starts_at(response: httpx.Response) -> int | None:
    header = response.headers.get("content-range", "")
    start = header.removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdigit() else None
