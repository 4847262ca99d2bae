"""`python -m tests.chaos`: a network of its own, and processes of it that die at every durable step.

Prints one line for each crash point and its outcome; exit status 1 when one of them was not survived.
`--short` walks those that tell most within ten minutes; `--long` kills processes at random afterwards.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from network.layout import Layout
from network.ports import free_port
from tests.chaos import kills
from tests.chaos.armory import Armory
from tests.chaos.caller import Caller
from tests.chaos.choosing import Slice, for_ten_minutes
from tests.chaos.health import Health
from tests.chaos.journal import HEAD, Journal
from tests.chaos.leftovers import leftovers
from tests.chaos.restarts import restart
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.walk import Walk
from tests.e2e.ledger_events import finishes

CALM_S = 3.0
SHORT_MINUTES = 7.0


def main() -> int:
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    state = options.state or folder / "state"
    armory = Armory(folder / "points")
    port = options.port or free_port()
    kind = "--plain" if options.plain else "--ray"
    try:
        up = ("up", kind, "--state", str(state), "--port", str(port))
        _command(*up, environment=armory.environment)
        code = _run(state, armory, options)
        _command("orchestrator", "replay", "--state", str(state))
    finally:
        _command("down", "--state", str(state))
    return code


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=None, help=f"for the walk (120; short: {SHORT_MINUTES:g})")
    add("--short", action="store_true", help="only the points that tell most")
    add("--long", type=float, default=0.0, help="minutes of random kills after the walk")
    add("--seed", type=int, default=int(time.time()), help="of the random kills")
    add("--together", type=int, default=6, help="deaths in one run (6)")
    add("--only", default="", help="points whose name holds this text")
    add("--from", dest="start", default="", help="begin with this point, in the order of the plan")
    add("--process", default="", help="points that processes of this kind reach: api, control, …")
    add("--journal", type=Path, help="a file of lines; points that it says were survived are done")
    add("--no-walk", action="store_true", help="only random kills (--long)")
    add("--plain", action="store_true", help="a network without Ray")
    add("--state", type=Path, default=None, help="state folder (a temporary one)")
    add("--port", type=int, default=None, help="front door (a free one)")
    return parser.parse_args()


def _run(state: Path, armory: Armory, options: argparse.Namespace) -> int:
    network = json.loads((state / "network.json").read_text("utf-8"))
    layout = Layout.at(state)
    callers = [
        Caller(row["url"], row["username"], row["password"], row["msp_id"])
        for row in network["organizations"]
    ]
    for caller in callers:
        caller.log_in()

    def done_once(tasks: list[str]) -> None:
        counts = finishes(network, tasks) if tasks else Counter()
        assert all(counts[key] == 1 for key in tasks), f"DONE more than once: {dict(counts)}"

    bad = 0
    if not options.no_walk:
        with Health(layout) as health:
            stories = {**SCENARIOS, "restart": restart(layout)}
            walk = Walk(
                armory, callers, done_once, options.together, lambda: health.unwell, CALM_S, stories
            )
            bad += _walk(walk, options)
    if options.long:
        bad += _kills(layout, callers, done_once, options, armory)
    left = leftovers(layout, [row["name"] for row in network["organizations"]])
    for line in left:
        _say(f"left over     {line}")
    _say("nothing is left over: no open work, result, or process" if not left else "")
    return int(bad + len(left) > 0)


def _walk(walk: Walk, options: argparse.Namespace) -> int:
    """Every chosen point once; how many were not survived, 1 when there was none to walk."""
    began = time.monotonic()
    seen = walk.record()
    journal = Journal(options.journal)
    chosen = Slice(options.only, options.start, options.process, journal.survived)
    plan = chosen.of(seen, walk.armory.visitors)
    total, minutes = sum(map(len, seen.values())), options.minutes or 120.0
    if options.short:
        plan, minutes = for_ten_minutes(plan), options.minutes or SHORT_MINUTES
        _say("short: points after a step, as dying before it is like dying after the last one;")
        _say("       none of loops that only look")
    count = sum(map(len, plan.values()))
    if not count:
        _say("no crash point was seen: this network ran already, or there is none of that kind")
        return 1
    _say(f"{count} of {total} crash points, seen in {time.monotonic() - began:.0f} s")
    _say(HEAD)
    for step in walk.steps(plan, time.monotonic() + 60 * minutes):
        _say(journal.add(step))
    return _summary(journal, time.monotonic() - began)


def _summary(journal: Journal, took_s: float) -> int:
    for line in journal.table():
        _say(line)
    slowest = max((step.after_s for step in journal.steps), default=0.0)
    progress = max((step.on_s for step in journal.steps), default=0.0)
    _say(
        f"{len(journal.steps)} points in {took_s:.0f} s; slowest end {slowest:.1f} s after a death, "
        f"{progress:.1f} s after everything was back"
    )
    return journal.broken


def _kills(
    layout: Layout, callers: list[Caller], done_once: Any, options: Any, armory: Armory
) -> int:
    """Random kills; how many were not survived."""

    def up() -> None:
        _command("up", "--state", str(layout.state), environment=armory.environment, quiet=True)

    random.seed(options.seed)
    _say(f"random kills, seed {options.seed}")
    until, bad = time.monotonic() + 60 * options.long, 0
    for kill in kills.schedule(layout, callers, done_once, up, until, options.seed):
        _say(
            f"{kill.outcome:12} back {kill.back_s:5.1f} s, on {kill.progress_s:5.1f} s  {kill.role}"
        )
        bad += kill.broken
    return bad


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _command(*words: str, environment: dict[str, str] | None = None, quiet: bool = False) -> None:
    code = "from cli.main import app; app()"
    variables = {**os.environ, **(environment or {})}
    output = subprocess.DEVNULL if quiet else None
    subprocess.run([sys.executable, "-c", code, *words], env=variables, check=True, stdout=output)


if __name__ == "__main__":
    sys.exit(main())
