"""`python -m ray_jobs.pod SESSION PLAN`: the entry point of a session's Ray Job. Never connects to Ray.

Exit codes: 0 the session came to its end, 3 the pod has had a session before, 4 its function container is of
no use; after 3 and 4 the pod is to be retired, and the session opened anew.
"""

import logging
import signal
import sys
import threading

from ray_jobs.pod.agent_client import NoAgent
from ray_jobs.pod.runner import PodRunner
from ray_jobs.pod.session import PodSession, Served

SERVED, NO_AGENT = 3, 4


def main() -> int:
    if len(sys.argv) != 3:
        sys.stderr.write("usage: python -m ray_jobs.pod SESSION PLAN\n")
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    runner = PodRunner(PodSession.read(sys.argv[1], sys.argv[2]))

    def stop(_number: int, _frame: object) -> None:
        threading.Thread(target=runner.stop, name="stop", daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        runner.run()
    except Served:
        logging.warning("this pod has had its session")
        return SERVED
    except NoAgent:
        logging.exception("the function's container is of no use")
        return NO_AGENT
    return 0


if __name__ == "__main__":
    sys.exit(main())
