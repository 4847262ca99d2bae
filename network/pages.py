"""A built front end beside the API: `python -m network.pages --folder DIR --page PORT=API …`.

Each organization has its pages on a port of its own, so that the browser takes them for its own origin
(rule 28). A build is one for all places: in place of the API's address it holds a text to be replaced
(`network/page_texts.py`).
"""

import argparse
import gzip
import mimetypes
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import structlog

from backend.monitoring.logs import configure
from network.page_texts import Texts

INDEX = "index.html"
TEXTS = {".html", ".js", ".mjs", ".css", ".json", ".map", ".webmanifest", ".svg", ".txt"}
LARGEST = 64 * 1024 * 1024  # bytes of one file of a build
WORTH_COMPRESSING = 1_024  # bytes
REQUEST_TIMEOUT_S = 30.0
SIBLINGS = {"br": ".br", "gzip": ".gz"}  # the best first
IDENTITY = "identity"
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class File:
    """One file as it is sent: by content coding, `identity` always among them."""

    media_type: str
    contents: dict[str, bytes]

    def best(self, accepted: str | None) -> tuple[str, bytes]:
        """Coding and bytes for what `Accept-Encoding` says."""
        codings = accepted_codings(accepted)
        chosen = next((one for one in SIBLINGS if one in codings & self.contents.keys()), IDENTITY)
        return chosen, self.contents[chosen]


NO_PAGE = File("text/plain; charset=utf-8", {IDENTITY: b"There is no page here.\n"})


class Build:
    """The folder of a built front end, for one address of the API."""

    def __init__(self, folder: Path, api: str) -> None:
        self._folder = folder.resolve()
        self._texts = Texts(api)
        self._read = lru_cache(maxsize=256)(self._replace)

    def file(self, path: str) -> File | None:
        """The file for the path of a request; the page itself for what is no file.

        None when a build has no page at all, or the file is too large.
        """
        found = self._find(unquote(urlsplit(path).path)) or self._folder / INDEX
        try:
            status = found.stat()
            if status.st_size > LARGEST:
                return None
            return self._read(found, status.st_mtime_ns)
        except OSError:
            return None

    def count(self) -> int:
        """How many files hold a text that is replaced: 0 when the build knows an address of its own."""
        paths = [one for one in self._folder.rglob("*") if one.suffix in TEXTS and one.is_file()]
        small = [one for one in paths if one.stat().st_size <= LARGEST]
        return sum(self._texts.stand_in(one.read_bytes()) for one in small)

    def _find(self, path: str) -> Path | None:
        if "\0" in path:
            return None
        try:
            found = (self._folder / path.lstrip("/")).resolve()
            if found != self._folder and found.is_dir():
                found = (found / INDEX).resolve()
            return found if found.is_relative_to(self._folder) and found.is_file() else None
        except OSError:  # a name that no file system holds
            return None

    def _replace(self, path: Path, changed: int) -> File:
        """`changed` is the file's time in ns: a new build is read again."""
        kind, coding = mimetypes.guess_type(path.name)
        media_type = kind if kind is not None and coding is None else "application/octet-stream"
        given = path.read_bytes()
        if path.suffix not in TEXTS:
            return File(media_type, {IDENTITY: given})
        content = self._texts.replace(given, page=path.suffix == ".html")
        contents = {IDENTITY: content}
        if content == given:
            contents |= self._siblings(path, changed)
        if "gzip" not in contents and len(content) > WORTH_COMPRESSING:
            contents["gzip"] = gzip.compress(content, mtime=0)
        return File(f"{media_type}; charset=utf-8", contents)

    def _siblings(self, path: Path, changed: int) -> dict[str, bytes]:
        """What the build compressed itself; one older than its file belongs to a former build."""
        found = {}
        for coding, suffix in SIBLINGS.items():
            sibling = path.with_name(path.name + suffix)
            if sibling.is_symlink() or not sibling.is_file():
                continue
            status = sibling.stat()
            if status.st_mtime_ns >= changed and status.st_size <= LARGEST:
                found[coding] = sibling.read_bytes()
        return found


def accepted_codings(header: str | None) -> set[str]:
    """`gzip, br;q=0.5, deflate;q=0` → gzip and br."""
    accepted = set()
    for part in (header or "").lower().split(","):
        name, _, weight = part.partition(";")
        if not re.fullmatch(r"q=0(\.0*)?", weight.strip()):
            accepted.add(name.strip())
    return accepted


class PageHandler(BaseHTTPRequestHandler):
    """GET and HEAD of a build's files."""

    protocol_version = "HTTP/1.1"
    server_version = "substra-ray"
    sys_version = ""
    timeout = REQUEST_TIMEOUT_S
    build: ClassVar[Build]

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        found = self.build.file(self.path)
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, NO_PAGE, with_body)
        else:
            self._send(HTTPStatus.OK, found, with_body)

    def _send(self, status: HTTPStatus, file: File, with_body: bool) -> None:
        coding, content = file.best(self.headers["Accept-Encoding"])
        tag = f'"{sha256(content).hexdigest()[:32]}"'
        known = {one.strip().removeprefix("W/") for one in self._asked("If-None-Match").split(",")}
        if status is HTTPStatus.OK and known & {tag, "*"}:
            status = HTTPStatus.NOT_MODIFIED
        self.send_response(status)
        if status is not HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Type", file.media_type)
            self.send_header("Content-Length", str(len(content)))
            if coding != IDENTITY:
                self.send_header("Content-Encoding", coding)
        self.send_header("ETag", tag)
        self.send_header("Vary", "Accept-Encoding")
        self.send_header("Cache-Control", "no-cache")  # the API may move, and the text with it
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header(
            "Referrer-Policy", "no-referrer"
        )  # a link of /reset_password/ holds a token
        self.end_headers()
        if with_body and status is not HTTPStatus.NOT_MODIFIED:
            self.wfile.write(content)

    def _asked(self, name: str) -> str:
        return str(self.headers[name] or "")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Nothing: paths of pages are nobody's business."""


def server(folder: Path, port: int, api: str) -> ThreadingHTTPServer:
    """The pages of one organization on 127.0.0.1, not serving yet."""

    class Handler(PageHandler):
        build = Build(folder, api)

    made = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    made.daemon_threads = True
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Serve a built front end for each organization.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--page", action="append", required=True, metavar="PORT=API")
    given = parser.parse_args(arguments)
    configure(process="frontend")
    servers = []
    for page in given.page:
        port, _, api = page.partition("=")
        servers.append(server(given.folder, int(port), api))
    files = Build(given.folder, "").count()
    log.info("pages_served", folder=str(given.folder), organizations=len(servers), files=files)
    if not files:
        log.warning("no_text_to_replace", folder=str(given.folder))
    for one in servers[1:]:
        threading.Thread(target=one.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main()
