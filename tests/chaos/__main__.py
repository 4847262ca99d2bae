"""`python -m tests.chaos`: a network of its own, and processes of it that die at every durable step.

Prints one line for each crash point and its outcome; exit status 1 when one of them was not survived. The
short form walks the points for some minutes; `--long` kills processes at random afterwards.
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

from network.layout import Layout
from network.ports import free_port
from tests.chaos import kills
from tests.chaos.armory import Armory
from tests.chaos.caller import Caller
from tests.chaos.health import Health
from tests.chaos.walk import Step, Walk
from tests.e2e.ledger_events import finishes


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
    parser.add_argument("--minutes", type=float, default=8.0, help="for the walk (8)")
    parser.add_argument("--long", type=float, default=0.0, help="minutes of random kills after it")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the random kills")
    parser.add_argument("--together", type=int, default=6, help="deaths in one run (6)")
    parser.add_argument("--only", default="", help="points whose name holds this text")
    parser.add_argument("--after", type=Path, help="go on after the walk that printed this file")
    parser.add_argument("--plain", action="store_true", help="a network without Ray")
    parser.add_argument("--state", type=Path, default=None, help="state folder (a temporary one)")
    parser.add_argument("--port", type=int, default=None, help="front door (a free one)")
    return parser.parse_args()


def _run(state: Path, armory: Armory, options: argparse.Namespace) -> int:
    network = json.loads((state / "network.json").read_text("utf-8"))
    callers = [
        Caller(row["url"], row["username"], row["password"], row["msp_id"])
        for row in network["organizations"]
    ]
    for caller in callers:
        caller.log_in()

    def done_once(tasks: list[str]) -> None:
        counts = finishes(network, tasks) if tasks else Counter()
        assert all(counts[key] == 1 for key in tasks), f"DONE more than once: {dict(counts)}"

    began = time.monotonic()
    with Health(Layout.at(state)) as health:
        chaos = Walk(armory, callers, done_once, options.together, lambda: health.unwell)
        bad = _walk(chaos, options, began)
    if options.long:
        random.seed(options.seed)
        until = time.monotonic() + 60 * options.long
        for kill in kills.schedule(Layout.at(state), callers, done_once, until, options.seed):
            _say(
                f"{kill.outcome:12} back {kill.back_s:5.1f} s, on {kill.progress_s:5.1f} s  {kill.role}"
            )
            bad += kill.outcome != "ok" and not kill.outcome.startswith("no such")
    return int(bad > 0)


def _walk(chaos: Walk, options: argparse.Namespace, began: float) -> int:
    """Every point once; how many were not survived."""
    plan = chaos.record()
    walked = _walked(options.after)
    plan = {
        name: [point for point in points if options.only in point and point not in walked]
        for name, points in plan.items()
    }
    total = sum(map(len, plan.values()))
    if not total:
        _say("no crash point was seen: this network ran already, or --only names none")
        return 1
    _say(f"{total} crash points, seen in {time.monotonic() - began:.0f} s; seed {options.seed}")
    _say(f"{'outcome':12} {'after':>7} {'well':>7}  {'scenario':13} crash point")
    steps = []
    for step in chaos.steps(plan, began + 60 * options.minutes):
        steps.append(step)
        times = f"{step.after_s:5.1f} s {step.on_s:5.1f} s"
        _say(f"{step.outcome:12} {times}  {step.scenario:13} {step.point}")
    return _summary(steps)


def _walked(output: Path | None) -> set[str]:
    """Points that an earlier walk says were survived."""
    lines = output.read_text("utf-8").splitlines() if output else []
    return {line.split()[-1] for line in lines if line.startswith("ok ")}


def _summary(steps: list[Step]) -> int:
    counts = Counter(
        s.outcome if s.outcome in ("ok", "not reached", "no time left") else "broken" for s in steps
    )
    slowest = max((s.after_s for s in steps), default=0.0)
    progress = max((s.on_s for s in steps), default=0.0)
    words = ", ".join(f"{number} {word}" for word, number in counts.most_common())
    _say(
        f"{words}; slowest end {slowest:.1f} s after a death, "
        f"{progress:.1f} s after everything was back"
    )
    return counts["broken"]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _command(*words: str, environment: dict[str, str] | None = None) -> None:
    code = "from cli.main import app; app()"
    variables = {**os.environ, **(environment or {})}
    subprocess.run([sys.executable, "-c", code, *words], env=variables, check=True)


if __name__ == "__main__":
    sys.exit(main())
