"""The application of one organization on a plain uvicorn: `python -m backend.asgi --settings FILE --port N`.

The front door sends uploads, the runners' exchange and streams here, and everything while Serve is away
(rule 20). The prefix arrives unstripped: the application's gateway makes root_path of it, once.
"""

import argparse
import os
from pathlib import Path
from socket import socket
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from backend.app import create_app
from backend.kit import garbage
from backend.monitoring.logs import configure
from backend.settings import Settings

log = structlog.get_logger()
DRAIN_S = 8  # what an open request has left when the server is told to stop
KEEP_ALIVE_S = (
    75  # longer than the front door keeps an idle connection: it never meets a closed one
)


class Server(uvicorn.Server):
    """Tells the application at the first signal, so that its long polls end instead of holding up the stop."""

    def __init__(self, config: uvicorn.Config, application: FastAPI) -> None:
        super().__init__(config)
        self._application = application

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        garbage.settle()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        gate = getattr(self._application.state, "runner_gate", None)
        if gate is not None:
            gate.drain()
        super().handle_exit(sig, frame)


def serve(settings: Settings, *, port: int, host: str = "127.0.0.1") -> None:
    """Serve an organization's API until a signal comes.

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
    server = Server(config, app)
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
    arguments = parser.parse_args()
    serve(Settings.read(arguments.settings), port=arguments.port, host=arguments.host)


if __name__ == "__main__":
    main()
