"""The work queue's promises, one by one."""

import asyncio

import pytest

from podium.keys import Key
from podium.kube.resources import MODEL_DEPLOYMENTS
from podium.watch.queue import FIRST_BACKOFF, LAST_BACKOFF, RESOLUTION, Queue

A, B, C = (MODEL_DEPLOYMENTS.key("ns", name) for name in "abc")


@pytest.fixture
def queue() -> Queue:
    return Queue(jitter=lambda: 0.0)


async def taken(queue: Queue, within: float = 20.0) -> Key:
    async with asyncio.timeout(within):
        return await queue.get()


async def nothing_comes(queue: Queue) -> bool:
    getter = asyncio.create_task(queue.get())
    for _ in range(5):
        await asyncio.sleep(0)
    empty = not getter.done()
    getter.cancel()
    return empty


async def test_keys_come_in_the_order_they_were_added(queue: Queue) -> None:
    queue.resume()
    for key in (B, A, C):
        queue.add(key)

    assert [await taken(queue) for _ in range(3)] == [B, A, C]


async def test_a_key_added_many_times_while_it_waits_is_handled_once(queue: Queue) -> None:
    queue.resume()
    for _ in range(10):
        queue.add(A)

    assert len(queue) == 1
    assert await taken(queue) == A
    queue.done(A)
    assert await nothing_comes(queue)


async def test_a_key_is_never_in_two_hands_and_comes_again_if_it_was_added_meanwhile(queue: Queue) -> None:
    queue.resume()
    queue.add(A)
    await taken(queue)

    queue.add(A)
    assert await nothing_comes(queue)
    queue.done(A)

    assert await taken(queue) == A


async def test_it_starts_paused_and_gathers(queue: Queue) -> None:
    queue.add(A)

    assert await nothing_comes(queue)
    queue.resume()

    assert await taken(queue) == A


async def test_a_pause_holds_back_the_workers_that_already_wait(queue: Queue) -> None:
    queue.resume()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)

    queue.pause()
    queue.add(A)
    await asyncio.sleep(0.01)
    assert not waiting.done()

    queue.resume()
    assert await asyncio.wait_for(waiting, 20) == A


async def test_resuming_wakes_as_many_workers_as_there_are_keys(queue: Queue) -> None:
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for key in (A, B, C):
        queue.add(key)

    queue.resume()

    assert {await asyncio.wait_for(one, 20) for one in waiting} == {A, B, C}


async def test_the_wake_up_of_a_cancelled_worker_goes_to_another(queue: Queue) -> None:
    queue.resume()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)

    queue.add(A)
    first.cancel()

    assert await asyncio.wait_for(second, 20) == A


async def test_of_two_wishes_the_earlier_holds(queue: Queue) -> None:
    queue.resume()
    loop = asyncio.get_running_loop()
    start = loop.time()

    queue.add_after(A, 0.02)
    queue.add_after(A, 60.0)
    queue.add_after(B, 60.0)
    queue.add_after(B, 0.04)

    assert [await taken(queue), await taken(queue)] == [A, B]
    assert 0.02 <= loop.time() - start < 20


async def test_taking_a_key_clears_its_timer(queue: Queue) -> None:
    queue.resume()
    queue.add_after(A, 0.02)
    queue.add(A)

    await taken(queue)
    queue.done(A)
    await asyncio.sleep(0.05)

    assert await nothing_comes(queue)


async def test_a_timer_that_fires_while_the_key_is_handled_brings_it_back_afterwards(queue: Queue) -> None:
    queue.resume()
    queue.add(A)
    await taken(queue)

    queue.add_after(A, 0.01)
    await asyncio.sleep(0.03)
    assert await nothing_comes(queue)
    queue.done(A)

    assert await taken(queue) == A


async def test_backoffs_double_up_to_the_last_and_start_again_after_a_success() -> None:
    now = 100.0
    queue = Queue(jitter=lambda: 0.0, clock=lambda: now)
    delays = []
    for _ in range(12):
        delays.append(queue.retry(A))
        now += delays[-1]

    assert delays[:4] == [FIRST_BACKOFF * 2**n for n in range(4)]
    assert delays[-1] == LAST_BACKOFF
    assert queue.retry(B) == FIRST_BACKOFF
    queue.forget(A)
    assert queue.retry(A) == FIRST_BACKOFF


async def test_a_failure_before_the_backoff_is_over_leaves_the_next_attempt_where_it_was() -> None:
    now = 100.0
    queue = Queue(jitter=lambda: 0.0, clock=lambda: now)
    for _ in range(5):
        now += queue.retry(A)
    due = now + queue.retry(A)

    for _ in range(20):  # a burst of events, each with a pass that fails likewise
        now += 0.05
        assert now + queue.retry(A) == pytest.approx(due)
    now = due
    assert queue.retry(A) == FIRST_BACKOFF * 2**6


async def test_a_retry_comes_no_sooner_than_the_server_asked(queue: Queue) -> None:
    assert queue.retry(A, at_least=7.0) == 7.0


async def test_jitter_only_lengthens() -> None:
    assert Queue(jitter=lambda: 1.0).retry(A) == pytest.approx(FIRST_BACKOFF * 1.2)


async def test_a_failing_key_waits_for_its_backoff(queue: Queue) -> None:
    queue.resume()
    queue.add(A)
    await taken(queue)

    loop = asyncio.get_running_loop()
    start = loop.time()
    delay = queue.retry(A)
    queue.done(A)

    assert await taken(queue) == A
    assert loop.time() - start >= delay - RESOLUTION


class Notes:
    """Writes down what the queue tells."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int]] = []

    def added(self, depth: int) -> None:
        self.said.append(("added", depth))

    def taken(self, depth: int, waited: float) -> None:
        assert waited >= 0
        self.said.append(("taken", depth))

    def finished(self, took: float) -> None:
        assert took >= 0
        self.said.append(("finished", 0))

    def retried(self) -> None:
        self.said.append(("retried", 0))


async def test_an_observer_is_told_what_the_metrics_count() -> None:
    notes = Notes()
    queue = Queue(observer=notes)
    queue.resume()

    queue.add(A)
    queue.add(B)
    await taken(queue)
    assert len(queue.held()) == 1
    queue.retry(A)
    queue.done(A)

    assert notes.said == [("added", 1), ("added", 2), ("taken", 1), ("retried", 0), ("finished", 0)]
    assert queue.held() == []
