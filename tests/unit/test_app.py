"""What a worker makes of each outcome of a pass, how the leader begins its term, and how a part that fails goes on."""

import asyncio
from contextlib import AbstractContextManager, nullcontext

import pytest

from podium import work as working
from podium.app import RECONCILERS
from podium.keys import Key
from podium.kube.client import ApiError, NotLeader, Object
from podium.kube.resources import MODEL_DEPLOYMENTS, MODEL_RUNTIMES
from podium.watch.kinds import KINDS
from podium.watch.queue import FIRST_BACKOFF, Queue
from podium.work import SOONEST, attempt, enduring, lead, work
from tests.until import until

A = MODEL_DEPLOYMENTS.key("ns", "a")


class Pass:
    """A reconciler whose every pass ends the same way."""

    def __init__(self, outcome: float | Exception | None) -> None:
        self.outcome = outcome

    async def reconcile(self, key: Key) -> float | None:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def keys(self) -> list[Key]:
        return []

    def read_ahead(self, key: Key) -> None: ...

    def step_down(self) -> None: ...


class Asked(Queue):
    """Notes in how many seconds a key is to come back."""

    def __init__(self) -> None:
        super().__init__(jitter=lambda: 0.0)
        self.delays: list[float] = []

    def add_after(self, key: Key, seconds: float) -> None:
        self.delays.append(seconds)


async def delay_after(outcome: float | Exception | None) -> tuple[str, float | None]:
    """The worker's word for the pass, and in how many seconds the key comes back (None: not by itself)."""
    queue = Asked()
    result = await attempt(queue, A, {A.kind: Pass(outcome)})
    return result, min(queue.delays, default=None)


@pytest.mark.parametrize(
    ("outcome", "result", "delay"),
    [
        (None, "success", None),
        (12.0, "requeue_after", 12.0),
        (0.0, "requeue_after", SOONEST),
        (-5.0, "requeue_after", SOONEST),
        (ApiError(409, "Conflict", "stale"), "error", FIRST_BACKOFF),
        (ApiError(429, "TooManyRequests", "slow", retry_after=7), "error", 7.0),
        (RuntimeError("ours"), "error", FIRST_BACKOFF),
        (NotLeader("lost"), "", None),
    ],
)
async def test_the_outcome_of_a_pass_decides_when_the_key_comes_back(
    outcome: float | Exception | None, result: str, delay: float | None
) -> None:
    assert await delay_after(outcome) == (result, delay)


async def test_a_conflict_is_no_warning_and_a_refusal_is(caplog: pytest.LogCaptureFixture) -> None:
    await delay_after(ApiError(409, "Conflict", "stale"))
    assert [one for one in caplog.records if one.levelname != "DEBUG"] == []

    await delay_after(ApiError(403, "Forbidden", "no"))
    assert [one.levelname for one in caplog.records if one.levelname != "DEBUG"] == ["WARNING"]


class Leading:
    """A Lease that is held for as long as anybody asks."""

    def pinned(self) -> AbstractContextManager[None]:
        return nullcontext()


class Apart:
    """A comparison that could not read some namespaces."""

    def __init__(self, *namespaces: str) -> None:
        self.apart = frozenset(namespaces)


class Uncounted:
    """Metrics that nobody reads."""

    def reconciled(self, kind: str, result: str, seconds: float) -> None: ...


async def test_between_the_passes_of_a_resync_the_event_loop_gets_its_turn() -> None:
    # Given two workers, and a hundred keys whose passes wait for nothing,
    happened: list[str] = []
    done = asyncio.Event()

    class Noted(Pass):
        async def reconcile(self, key: Key) -> float | None:
            happened.append("pass")
            if happened.count("pass") == 100:
                done.set()
            return await super().reconcile(key)

    async def turn() -> None:
        while True:
            happened.append("turn")
            await asyncio.sleep(0)

    queue = Queue()
    for number in range(100):
        queue.add(MODEL_DEPLOYMENTS.key("ns", f"m{number}"))
    queue.resume()
    # when they work through them,
    workers = [work(queue, {A.kind: Noted(None)}, Leading(), Uncounted(), Apart()) for _ in range(2)]  # type: ignore[arg-type]
    tasks = [asyncio.create_task(part) for part in (turn(), *workers)]
    await done.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # then no more than one pass of each lies between two turns of the event loop.
    passes = [len(run) for run in "".join(one[0] for one in happened).split("t")]
    assert sum(passes) == 100
    assert max(passes) <= 2


async def test_in_a_namespace_that_cannot_be_read_nothing_is_planned() -> None:
    planned: list[Key] = []
    done = asyncio.Event()

    class Noted(Pass):
        async def reconcile(self, key: Key) -> float | None:
            planned.append(key)
            done.set()
            return None

    queue = Queue()
    for namespace in ("gone", "ns"):
        queue.add(MODEL_DEPLOYMENTS.key(namespace, "m"))
    queue.resume()
    worker = work(queue, {A.kind: Noted(None)}, Leading(), Uncounted(), Apart("gone"))  # type: ignore[arg-type]
    task = asyncio.create_task(worker)
    await done.wait()
    task.cancel()

    assert planned == [MODEL_DEPLOYMENTS.key("ns", "m")]
    assert not len(queue), "it is not asked for again and again"


@pytest.mark.parametrize("failure", [KeyError("x"), MemoryError(), ExceptionGroup("g", [ValueError()])])
async def test_a_part_that_fails_goes_on_and_is_counted_and_told(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(working, "FIRST_RESTART", 0.01)
    failed, runs = [], []

    async def part() -> None:
        runs.append(True)
        if len(runs) < 3:
            raise failure
        await asyncio.Event().wait()

    running = asyncio.create_task(enduring("lease", part, failed.append))
    await until(lambda: len(runs) == 3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert failed == ["lease", "lease"]
    assert running.cancelled(), "cancellation ends it"
    assert [one.exc_info is not None for one in caplog.records if "(lease) failed" in one.message] == [True, True]


async def test_a_term_begins_with_what_others_read_then_catches_up_then_lets_everything_go() -> None:
    happened: list[str] = []
    lost = asyncio.Event()

    class Listed(Pass):
        def __init__(self, key: Key) -> None:
            super().__init__(None)
            self.key = key

        async def reconcile(self, key: Key) -> float | None:
            happened.append(str(key))
            return await super().reconcile(key)

        def keys(self) -> list[Key]:
            return [self.key]

    class Once(Leading):
        holding, term = True, 1

        async def gained(self) -> None: ...

        async def lost(self) -> None:
            lost.set()
            await asyncio.Event().wait()

    class CatchingUp:
        async def catch_up(self) -> None:
            happened.append("catch up")

    runtime = MODEL_RUNTIMES.key("", "r")
    reconcilers = {A.kind: Listed(A), runtime.kind: Listed(runtime)}
    queue = Queue()

    leading = asyncio.create_task(lead(Once(), CatchingUp(), queue, reconcilers, (runtime.kind,)))  # type: ignore[arg-type]
    await lost.wait()
    due = {await queue.get(), await queue.get()}
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)

    assert happened == ["r", "catch up"]
    assert due == {A, runtime}


async def test_a_standby_reads_ahead_once_its_cache_is_filled_until_it_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again; what is gone is named once more, to be forgotten."""
    monkeypatch.setattr(working, "READ_AHEAD", 0.0)
    monkeypatch.setattr(working, "NOT_SYNCED", 0.0)
    read: list[Key] = []
    gone = MODEL_DEPLOYMENTS.key("ns", "gone")

    class Reading(Pass):
        there: tuple[Key, ...] = (A, gone)

        def keys(self) -> list[Key]:
            return [*self.there]

        def read_ahead(self, key: Key) -> None:
            read.append(key)
            raise ValueError("its pass will say so")

    class Standing:
        holding = False
        leads = asyncio.Event()

        async def lost(self) -> None:
            if self.holding:
                self.leads.set()
                await asyncio.Event().wait()

    class Filling:
        synced = False

    reconciler, lease, resync = Reading(None), Standing(), Filling()
    standing = asyncio.create_task(working.stand_by(lease, resync, {A.kind: reconciler}))  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    assert read == []
    resync.synced = True
    await until(lambda: set(read) == {A, gone})
    read.clear()
    reconciler.there = (A,)
    await until(lambda: read[-3:] == [A, A, A])
    assert gone in read
    lease.holding = True
    await lease.leads.wait()
    standing.cancel()
    await asyncio.gather(standing, return_exceptions=True)


def test_whatever_a_watched_object_wakes_has_a_reconciler() -> None:
    class Users:
        def get(self, *_: object) -> Object:
            return {}

        def models_using(self, runtime: str) -> list[Key]:
            return [A]

        def owned(self, *_: object) -> list[Object]:
            return []

    obj = {"metadata": {"namespace": "ns", "name": "a", "labels": {"podium.dev/model": "a"}}}

    woken = {key.kind for kind in KINDS.values() for key in kind.wakes(obj, Users())}

    assert woken == RECONCILERS.keys()
