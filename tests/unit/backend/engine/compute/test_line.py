"""The line of waiting runners: one looks, nobody looks in vain twice, nobody waits for ever."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TypeVar
from uuid import uuid4

from backend.engine.compute.line import Line
from backend.engine.compute.queue import Claimed
from backend.engine.compute.tables import Kind
from backend.engine.compute.wakeups import Signal

T = TypeVar("T")


class Queue:
    """Ready tasks, and how often somebody looked for one."""

    def __init__(self, ready: int = 0) -> None:
        self.ready, self.looks = ready, 0
        self.looked = asyncio.Event()

    async def look(self) -> Claimed | None:
        self.looks += 1
        self.looked.set()
        if not self.ready:
            return None
        self.ready -= 1
        return Claimed(1, Kind.TASK, uuid4(), "c", uuid4(), 1, "token", more=self.ready > 0)


async def _present() -> bool:
    return False


async def _gone() -> bool:
    return True


def _run(scenario: Callable[[], Coroutine[object, object, T]]) -> T:
    return asyncio.run(asyncio.wait_for(scenario(), 10))


async def _one_ready_task_costs_one_look_however_many_wait() -> tuple[int, int]:
    queue, signal = Queue(), Signal()
    line, until = Line(signal), time.monotonic() + 0.5
    waiting = [asyncio.create_task(line.next(queue.look, until, _present)) for _ in range(5)]
    await queue.looked.wait()
    queue.ready = 1
    signal.fire()
    found = [work for work in await asyncio.gather(*waiting) if work is not None]
    return len(found), queue.looks


def test_one_ready_task_costs_one_look_however_many_wait() -> None:
    assert _run(_one_ready_task_costs_one_look_however_many_wait) == (1, 2)


async def _many_ready_tasks_go_to_all_who_wait_for_one_signal() -> tuple[int, int]:
    queue, signal = Queue(ready=3), Signal()
    line, until = Line(signal), time.monotonic() + 5
    found = await asyncio.gather(*(line.next(queue.look, until, _present) for _ in range(3)))
    return sum(work is not None for work in found), queue.looks


def test_many_ready_tasks_go_to_all_who_wait_for_one_signal() -> None:
    assert _run(_many_ready_tasks_go_to_all_who_wait_for_one_signal) == (3, 3)


async def _a_lost_wake_up_costs_a_second() -> float:
    queue, started = Queue(), time.monotonic()
    waiting = asyncio.create_task(Line(Signal()).next(queue.look, started + 5, _present))
    await queue.looked.wait()
    queue.ready = 1  # and no signal
    assert await waiting is not None
    return time.monotonic() - started


def test_a_lost_wake_up_costs_a_second() -> None:
    assert 0.9 < _run(_a_lost_wake_up_costs_a_second) < 3


def test_nothing_is_claimed_for_a_runner_that_hung_up() -> None:
    queue = Queue(ready=1)
    until = time.monotonic() + 5
    assert _run(lambda: Line(Signal()).next(queue.look, until, _gone)) is None
    assert queue.looks == 0


async def _the_one_behind_waits_no_longer_than_it_asked_for() -> float:
    queue, line, started = Queue(), Line(Signal()), time.monotonic()
    first = asyncio.create_task(line.next(queue.look, started + 2, _present))
    await asyncio.sleep(0)
    assert await line.next(queue.look, started + 0.1, _present) is None
    waited = time.monotonic() - started
    line.close()
    assert await first is None
    return waited


def test_the_one_behind_waits_no_longer_than_it_asked_for() -> None:
    assert _run(_the_one_behind_waits_no_longer_than_it_asked_for) < 1.5


async def _closing_sends_everybody_home() -> float:
    queue, line, started = Queue(), Line(Signal()), time.monotonic()
    waiting = [asyncio.create_task(line.next(queue.look, started + 8, _present)) for _ in range(3)]
    await queue.looked.wait()
    line.close()
    assert await asyncio.gather(*waiting) == [None, None, None]
    return time.monotonic() - started


def test_closing_sends_everybody_home() -> None:
    assert _run(_closing_sends_everybody_home) < 2
