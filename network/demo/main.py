"""The demo, told in order: two organizations that share no data train a model together.

Read it as a tutorial: this file is the story, `data.py` who holds what, `algorithm.py` what is
trained, `opener.py` how files become arrays, `experiment.py` the calls of the SDK and SubstraFL,
`report.py` the table and the pictures.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from network.demo import data, experiment, report
from network.demo.experiment import BuildsFirst, Member, Outcome

OUTPUT = Path("demo-output")


def main(
    network: dict[str, Any],
    *,
    json: bool = False,
    output: Path = OUTPUT,
    rounds: int = experiment.ROUNDS,
) -> int:
    """Run the demo on a running network.

    Args:
        network: the content of `network.json`: organizations with name, url, username, password.
        json: end with one JSON line on standard output; everything else goes to standard error.
        output: folder of the picture.

    Returns:
        the exit code: 0, or 1 when the training failed or a refusal was not given.
    """
    console = Console(stderr=json, highlight=False)
    members = connect(network)
    introduce(console, members)
    with TemporaryDirectory(prefix="substra-ray-demo-") as folder:
        try:
            outcome = train(console, members, Path(folder), rounds)
        except experiment.ExperimentFailed as failure:
            console.print(f"[red]{failure}[/red]")
            return 1
        curves = [
            report.Curve(m.name, outcome.performances[m.name], experiment.alone(m, rounds))
            for m in members
        ]
        console.print(report.table(curves))
        console.print(report.plot(curves))
        console.print(f"Picture: {report.picture(curves, output / 'accuracy.png')}")
        refused = len(members) < 2 or refuse(console, members, outcome, Path(folder))
    if json:
        sys.stdout.write(summary(members, outcome).decode() + "\n")
    return 0 if refused else 1


def connect(network: dict[str, Any]) -> list[Member]:
    """One client for each organization, logged in as its own user, with its own share of the data."""
    organizations = network["organizations"]
    shares = data.split(data.load(), len(organizations))
    return [
        Member(
            name=organization["name"],
            client=BuildsFirst(
                url=organization["url"],
                username=organization["username"],
                password=organization["password"],
                backend_type="remote",
            ),
            share=share,
        )
        for organization, share in zip(organizations, shares, strict=True)
    ]


def introduce(console: Console, members: list[Member]) -> None:
    """Who holds what, before anything happens."""
    console.print("\n[bold]Wisconsin breast cancer, split between organizations[/bold]")
    for member in members:
        train, test = member.share.train, member.share.test
        console.print(
            f"  {member.name}: {len(train.y)} patients to train on, {train.y.mean():.0%} of them "
            f"malignant; {len(test.y)} to test on"
        )
    console.print()


def train(console: Console, members: list[Member], folder: Path, rounds: int) -> Outcome:
    """Federated averaging, with a bar for the images and one for the tasks."""
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        build = progress.add_task("Building the images", total=None)
        tasks = progress.add_task("Training and evaluating", total=None, start=False)

        def on_build(done: int, total: int) -> None:
            progress.update(build, completed=done, total=total)

        def on_train(done: int, total: int) -> None:
            progress.start_task(tasks)
            progress.update(tasks, completed=done, total=total)

        outcome = experiment.run(members, folder, rounds, on_build, on_train)
    console.print(
        f"{outcome.tasks} tasks in {outcome.train_s:.1f} s, after {outcome.build_s:.1f} s "
        "of building\n"
    )
    return outcome


def refuse(console: Console, members: list[Member], outcome: Outcome, folder: Path) -> bool:
    """Permissions at work: the second organization may not have the first one's last update."""
    owner, asking = members[0], members[1]
    answer = experiment.refusal(asking, owner, outcome.plan, folder)
    if answer is None:
        console.print(f"[red]{asking.name} got a model that only {owner.name} may read[/red]")
        return False
    console.print(
        f"\n{asking.name} asks {owner.name} for its last update, which only the averaging may read."
        f"\nRefused with [bold]{answer}[/bold]"
    )
    return True


def summary(members: list[Member], outcome: Outcome) -> bytes:
    """The JSON line of `demo --json`."""
    return orjson.dumps(
        {
            "organizations": [member.name for member in members],
            "tasks": outcome.tasks,
            "build_seconds": round(outcome.build_s, 3),
            "train_seconds": round(outcome.train_s, 3),
            "seconds_per_task": round(outcome.train_s / max(outcome.tasks, 1), 4),
            "performances": outcome.performances,
        }
    )
