"""`python -m orchestrator --listen HOST:PORT --channels FILE.yaml --database URL`: a ledger until SIGTERM.

TLS, metrics and the rest are set by variables: docs/ledger.md lists them.
"""

import argparse
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg2
import structlog
from pydantic import ValidationError

from orchestrator.channels import ChannelFileError, read_channels
from orchestrator.server import Options, Server
from orchestrator.settings import Settings
from orchestrator.tls.paths import TlsFileError

log = structlog.get_logger("orchestrator")

_OPTIONS = {
    "LISTEN": "--listen",
    "CHANNEL_CONFIG": "--channels",
    "DATABASE_URL": "--database",
    "METRICS_LISTEN": "--metrics",
}
CANNOT_START = (psycopg2.OperationalError, RuntimeError, OSError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; a second signal ends at once.

    Returns 0 after a clean end, 1 when it cannot start (database or port), 2 for settings that cannot be used.
    """
    _log()
    made = prepare(arguments)
    if isinstance(made, str):
        log.error("settings_refused", reason=made)
        return 2
    server, ended = made, threading.Event()

    def end(number: int, frame: object) -> None:
        if ended.is_set():
            raise SystemExit(128 + number)
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        server.start()
    except CANNOT_START as error:
        log.error("ledger_not_started", reason=str(error).strip())
        return 1
    _settle()
    ended.wait()
    server.stop()
    _settle()  # else the interpreter looks through all of it once more before it ends
    return 0


def _settle() -> None:
    """Take what lives by now out of the garbage collector's rounds: it stays."""
    gc.collect()
    gc.freeze()


def prepare(arguments: Sequence[str] | None) -> Server | str:
    """A server to be started, or the reason why the settings, or the files that they name, cannot be used."""
    try:
        return _server(_settings(arguments))
    except ValidationError as error:
        return "; ".join(map(_reason, error.errors()))
    except OSError as error:
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except (ChannelFileError, TlsFileError) as error:
        return str(error)


def _server(settings: Settings) -> Server:
    channels = read_channels(settings.CHANNEL_CONFIG)
    options = Options(
        replay_batch=settings.REPLAY_EVENTS_BATCH_SIZE,
        channel_file=settings.CHANNEL_CONFIG,
        tls=settings.tls,
        verify_msp_id=settings.VERIFY_CLIENT_MSP_ID,
        ping_interval_s=settings.GRPC_KEEPALIVE_POLICY_MIN_TIME,
        pings_without_calls=settings.GRPC_KEEPALIVE_POLICY_PERMIT_WITHOUT_STREAM,
        metrics_listen=settings.METRICS_LISTEN if settings.METRICS_ENABLED else None,
    )
    return Server(settings.DATABASE_URL, channels, settings.LISTEN, options)


def _settings(arguments: Sequence[str] | None) -> Settings:
    parser = argparse.ArgumentParser(prog="orchestrator", description=__doc__)
    parser.add_argument("--listen", help="HOST:PORT (ORCHESTRATOR_LISTEN)")
    parser.add_argument("--channels", type=Path, help="channel file (ORCHESTRATOR_CHANNEL_CONFIG)")
    parser.add_argument("--database", help="PostgreSQL URL (ORCHESTRATOR_DATABASE_URL)")
    parser.add_argument("--metrics", help="HOST:PORT of /metrics (METRICS_ENABLED)")
    given = parser.parse_args(arguments)
    named: dict[str, Any] = {
        "LISTEN": given.listen,
        "CHANNEL_CONFIG": given.channels,
        "DATABASE_URL": given.database,
        "METRICS_LISTEN": given.metrics,
        "METRICS_ENABLED": True if given.metrics else None,
    }
    return Settings(**{name: value for name, value in named.items() if value is not None})


def _reason(error: Any) -> str:
    """`--listen (ORCHESTRATOR_LISTEN): Field required`, of one of pydantic's errors."""
    text = str(error["msg"]).removeprefix("Value error, ")
    name = ".".join(map(str, error["loc"]))
    if not name:
        return text
    if name == "METRICS_ENABLED":
        return f"{name}: {text}"
    option = _OPTIONS.get(name)
    return f"{option} (ORCHESTRATOR_{name}): {text}" if option else f"ORCHESTRATOR_{name}: {text}"


def _log() -> None:
    """Lines of JSON; for a person at a terminal, lines to read."""
    level = logging.getLevelNamesMapping().get(os.environ.get("LOG_LEVEL", "INFO").upper(), 20)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_rendered(sys.stderr.isatty()),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _rendered(terminal: bool) -> list[Any]:
    if terminal:
        return [structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in os.environ)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


if __name__ == "__main__":
    sys.exit(main())
