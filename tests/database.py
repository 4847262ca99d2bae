"""`make db`: a PostgreSQL for development that stays until Ctrl-C.

Tests that find its address in SUBSTRA_RAY_TEST_POSTGRES use it instead of starting one of their own.
"""

import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from network.postgres import temporary_server


def main() -> None:
    with TemporaryDirectory(prefix="sr-db-") as folder, temporary_server(Path(folder)) as address:
        sys.stdout.write(f"export SUBSTRA_RAY_TEST_POSTGRES={address}\n")
        sys.stdout.write("Running until Ctrl-C; nothing that it holds is kept.\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main()
