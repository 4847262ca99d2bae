"""`python -m ray_jobs SESSION_FILE`: a runner as a process of its own."""

import logging
import signal
import sys
import threading

from ray_jobs.runner import Runner


def main() -> int:
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m ray_jobs SESSION_FILE\n")
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    runner = Runner(sys.argv[1])

    def stop(_number: int, _frame: object) -> None:
        threading.Thread(target=runner.stop, name="stop", daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    runner.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
