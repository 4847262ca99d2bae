"""A story that begins with deaths: what processes do when they come back is walked too."""

import contextlib
import os
import signal

from network.layout import Layout
from network.processes import descendants, marked
from network.report import Report
from tests.chaos.caller import Caller
from tests.chaos.scenarios import Scenario, Story, chain

BACK = ("api", "engine", "orchestrator")
CONTROL = "control-"


def restart(layout: Layout) -> Scenario:
    """Ledger, APIs and control planes die at once while a plan's first tasks run; it ends all the same."""

    def story(callers: list[Caller]) -> Story:
        begun = chain(callers)
        report = Report.read(layout)
        pids = [row.process.pid for row in report.rows if row.role in BACK and row.process]
        pids += [actor.pid for actor in report.actors if actor.name.startswith(CONTROL)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return begun

    return story


def cut_power(layout: Layout) -> int:
    """Kill every process of the network, the supervisor first; how many there were."""
    supervisor = Report.read(layout).supervisor
    found = [] if supervisor is None else [supervisor, *descendants(supervisor.pid)]
    found += [each for each in marked(layout.identity) if each not in found]
    return sum(each.signal(signal.SIGKILL) for each in found)
