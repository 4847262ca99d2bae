"""The application of one organization on a plain uvicorn: `python -m backend.asgi --settings FILE --port N`.

The front door sends uploads, the runners' exchange and streams here, and everything while Serve is away
(rule 20). The prefix arrives unstripped: the application's gateway makes root_path of it, once.
"""

import argparse
import asyncio
import os
import signal
from pathlib import Path
from socket import socket
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.app import create_app
from backend.kit import garbage
from backend.monitoring.logs import configure
from backend.settings import Settings

log = structlog.get_logger()
DRAIN_S = 8  # what an open request has left when the server is told to stop
KEEP_ALIVE_S = (
    75  # longer than the front door keeps an idle connection: it never meets a closed one
)


class LastAnswers:
    """Ends each connection with its next answer, once `leaving`: the client opens the next one elsewhere.

    A server that closes an idle connection may meet a request that is on its way, which then fails.
    """

    def __init__(self, application: ASGIApp) -> None:
        self._application = application
        self.leaving = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if self.leaving and message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (b"connection", b"close")]
                message = {**message, "headers": headers}
            await send(message)

        await self._application(scope, receive, answer)


class Server(uvicorn.Server):
    """Tells the application when it stops, so that its long polls end instead of holding up the stop.

    With `leave_s` it goes on for so long after SIGTERM: behind a Service, requests still come until everybody
    knows that this pod is leaving. A second signal ends the wait.
    """

    def __init__(self, config: uvicorn.Config, application: FastAPI, leave_s: float = 0) -> None:
        self._last_answers = LastAnswers(application) if leave_s else None
        if self._last_answers is not None:
            config.app = self._last_answers
        super().__init__(config)
        self._application = application
        self._leave_s = leave_s
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        garbage.settle()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        last = self._last_answers
        if last is None or self._loop is None or last.leaving or sig != signal.SIGTERM:
            self._end(sig)
            return
        last.leaving = True
        self._loop.call_soon_threadsafe(self._loop.call_later, self._leave_s, self._end, sig)

    def _end(self, sig: int) -> None:
        gate = getattr(self._application.state, "runner_gate", None)
        if gate is not None:
            gate.drain()
        super().handle_exit(sig, None)


def serve(settings: Settings, *, port: int, host: str = "127.0.0.1", leave_s: float = 0) -> None:
    """Serve an organization's API until a signal comes, and for `leave_s` after SIGTERM.

    Raises:
        SystemExit: it could not start (3), or never will on this database (`os.EX_CONFIG`).
    """
    configure(settings.LOG_LEVEL, organization=settings.NAME, process="api")
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        proxy_headers=False,  # the application reads them itself, from trusted proxies only (rule 28)
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
        lifespan="on",
        h11_max_incomplete_event_size=256 * 1024,  # a list's `key=` filter can be long
    )
    server = Server(config, app, leave_s)
    try:
        server.run()
    finally:  # uvicorn leaves by SystemExit when the application does not start
        if (reason := getattr(app.state, "unusable", None)) is not None:
            log.error("schema_unusable", reason=reason)
            raise SystemExit(os.EX_CONFIG)
    if not server.started:
        raise SystemExit(3)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve one organization's API.")
    parser.add_argument("--settings", type=Path, required=True, help="JSON file of the settings")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--leave-s", type=float, default=0, help="seconds that it still serves after SIGTERM"
    )
    given = parser.parse_args()
    settings = Settings.read(given.settings)
    serve(settings, port=given.port, host=given.host, leave_s=given.leave_s)


if __name__ == "__main__":
    main()
