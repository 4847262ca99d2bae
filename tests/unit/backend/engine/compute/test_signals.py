"""Signals: nothing that happens between a look and the wait is missed."""

import asyncio
import threading

from backend.engine.compute.wakeups import Signal


def test_a_signal_fired_before_the_wait_ends_it_at_once() -> None:
    signal = Signal()
    seen = signal.value
    signal.fire()
    assert signal.wait(seen, 0) is True
    assert signal.wait(signal.value, 0) is False


def test_a_waiting_thread_is_woken() -> None:
    signal, woken = Signal(), threading.Event()
    seen = signal.value
    thread = threading.Thread(target=lambda: woken.set() if signal.wait(seen, 10) else None)
    thread.start()
    signal.fire()
    thread.join(10)
    assert woken.is_set()


async def _wait_twice_for_a_thread_then_for_nobody(signal: Signal) -> tuple[bool, bool, bool]:
    seen = signal.value
    timer = threading.Timer(0.01, signal.fire)
    timer.start()
    first, second = await asyncio.gather(signal.wait_async(seen, 10), signal.wait_async(seen, 10))
    timer.join()
    return first, second, await signal.wait_async(signal.value, 0.01)


def test_coroutines_are_woken_from_another_thread_and_time_out_alone() -> None:
    waits = _wait_twice_for_a_thread_then_for_nobody(Signal())
    assert asyncio.run(waits) == (True, True, False)
