"""A built front end beside the API: `python -m network.pages --folder DIR --page PORT=API …`.

Each organization has its pages on a port of its own, so that the browser takes them for its own origin
(rule 28). A build is one for all places: in place of the API's address it holds a text to be replaced.
"""

import argparse
import mimetypes
import threading
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import structlog

from backend.monitoring.logs import configure

INDEX = "index.html"
API_URL = "__API_URL__"
ANALYTICS = "__MICROSOFT_CLARITY_ID__"  # who watches the users: nobody
TEXTS = {".html", ".js", ".mjs", ".css", ".json", ".map", ".webmanifest", ".svg", ".txt"}
LARGEST = 64 * 1024 * 1024  # bytes of one file of a build
REQUEST_TIMEOUT_S = 30.0
log = structlog.get_logger(__name__)


class Build:
    """The folder of a built front end, for one address of the API."""

    def __init__(self, folder: Path, api: str) -> None:
        self._folder = folder.resolve()
        self._replaced = {API_URL: api, ANALYTICS: ""}
        self._read = lru_cache(maxsize=256)(self._replace)

    def file(self, path: str) -> tuple[str, bytes] | None:
        """Media type and content for the path of a request; the page itself for what is no file.

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

    def _find(self, path: str) -> Path | None:
        if "\0" in path:
            return None
        try:
            found = (self._folder / path.lstrip("/")).resolve()
            return found if found.is_relative_to(self._folder) and found.is_file() else None
        except OSError:  # a name that no file system holds
            return None

    def _replace(self, path: Path, changed: int) -> tuple[str, bytes]:
        """`changed` is the file's time: a new build is read again."""
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        content = path.read_bytes()
        if path.suffix not in TEXTS:
            return kind, content
        for text, value in self._replaced.items():
            content = content.replace(text.encode(), value.encode())
        return f"{kind}; charset=utf-8", content


class PageHandler(BaseHTTPRequestHandler):
    """GET and HEAD of a build's files."""

    protocol_version = "HTTP/1.1"
    timeout = REQUEST_TIMEOUT_S
    build: ClassVar[Build]

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        found = self.build.file(self.path)
        kind, content = found or ("text/plain; charset=utf-8", b"There is no page here.\n")
        self.send_response(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.end_headers()
        if with_body:
            self.wfile.write(content)

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
    log.info("pages_served", folder=str(given.folder), organizations=len(servers))
    for one in servers[1:]:
        threading.Thread(target=one.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main()
