"""`python -m orchestrator --listen HOST:PORT --channels FILE.yaml --database URL`: a ledger until SIGTERM."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg2
import sqlalchemy.exc
import structlog
from pydantic import ValidationError

from orchestrator.server import Server
from orchestrator.settings import ChannelFileError, Settings, read_channels

log = structlog.get_logger("orchestrator")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT.

    Returns 0 after a clean end, 1 when it cannot start (database or port), 2 for settings that cannot be used.
    """
    _log_as_json()
    try:
        settings = _settings(arguments)
        channels = read_channels(settings.CHANNEL_CONFIG)
    except ValidationError as error:
        missing = ", ".join(f"ORCHESTRATOR_{e['loc'][0]}: {e['msg']}" for e in error.errors())
        log.error("settings_refused", reason=missing)
        return 2
    except (ChannelFileError, OSError) as error:
        log.error("settings_refused", reason=str(error))
        return 2
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server = Server(
        settings.DATABASE_URL,
        channels,
        settings.LISTEN,
        replay_batch=settings.REPLAY_EVENTS_BATCH_SIZE,
    )
    try:
        server.start()
    except (sqlalchemy.exc.OperationalError, psycopg2.OperationalError, RuntimeError) as error:
        log.error("ledger_not_started", reason=str(error))
        return 1
    ended.wait()
    server.stop()
    return 0


def _settings(arguments: Sequence[str] | None) -> Settings:
    parser = argparse.ArgumentParser(prog="orchestrator", description=__doc__)
    parser.add_argument("--listen", help="HOST:PORT (ORCHESTRATOR_LISTEN)")
    parser.add_argument("--channels", type=Path, help="channel file (ORCHESTRATOR_CHANNEL_CONFIG)")
    parser.add_argument("--database", help="PostgreSQL URL (ORCHESTRATOR_DATABASE_URL)")
    given = parser.parse_args(arguments)
    named: dict[str, Any] = {
        "LISTEN": given.listen,
        "CHANNEL_CONFIG": given.channels,
        "DATABASE_URL": given.database,
    }
    return Settings(**{name: value for name, value in named.items() if value is not None})


def _log_as_json() -> None:
    level = logging.getLevelNamesMapping().get(os.environ.get("LOG_LEVEL", "INFO").upper(), 20)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    sys.exit(main())
