"""What a worker makes of each outcome of a pass, and what the leader does about the built-in runtimes."""

import asyncio
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from podium import app
from podium.app import SOONEST, apply_fenced, attempt, enduring, work
from podium.keys import Key
from podium.kube.client import ApiError, NotLeader, Object
from podium.kube.resources import Resource
from podium.reconcile.builtins import InvalidRuntimes, apply_runtimes, read_runtimes
from podium.watch.queue import FIRST_BACKOFF, Queue
from tests.until import until

A = Key("ns", "a")


class Pass:
    """A reconciler whose every pass ends the same way."""

    def __init__(self, outcome: float | Exception | None) -> None:
        self.outcome = outcome

    async def reconcile(self, key: Key) -> float | None:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


async def delay_after(outcome: float | Exception | None) -> tuple[str, float | None]:
    """The worker's word for the pass, and in how many seconds the key comes back (None: not by itself)."""
    queue = Queue(jitter=lambda: 0.0)
    result = await attempt(queue, A, Pass(outcome))
    timer = queue._timers.get(A)
    if timer is None:
        return result, None
    delay = timer.when() - asyncio.get_running_loop().time()
    timer.cancel()
    return result, delay


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
    assert await delay_after(outcome) == (result, delay if delay is None else pytest.approx(delay, abs=0.02))


async def test_a_conflict_is_no_warning_and_a_refusal_is(caplog: pytest.LogCaptureFixture) -> None:
    await delay_after(ApiError(409, "Conflict", "stale"))
    assert [one for one in caplog.records if one.levelname != "DEBUG"] == []

    await delay_after(ApiError(403, "Forbidden", "no"))
    assert [one.levelname for one in caplog.records if one.levelname != "DEBUG"] == ["WARNING"]


class Leading:
    """A Lease that is held for as long as anybody asks."""

    def pinned(self) -> AbstractContextManager[None]:
        return nullcontext()


class Uncounted:
    """Metrics that nobody reads."""

    def reconciled(self, result: str, seconds: float) -> None: ...


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
        queue.add(Key("ns", f"m{number}"))
    queue.resume()
    # when they work through them,
    workers = [work(queue, Noted(None), Leading(), Uncounted()) for _ in range(2)]  # type: ignore[arg-type]
    tasks = [asyncio.create_task(part) for part in (turn(), *workers)]
    await done.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # then no more than one pass of each lies between two turns of the event loop.
    passes = [len(run) for run in "".join(one[0] for one in happened).split("t")]
    assert sum(passes) == 100
    assert max(passes) <= 2


class Runtimes:
    """The ModelRuntimes of a cluster, in memory; the rest of the client is not asked for here."""

    def __init__(self, **live: Object) -> None:
        self.live = live
        self.applied: list[str] = []
        self.failure: Exception | None = None

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        return self.live.get(name)

    async def apply(self, obj: Object, **_: Any) -> Object:
        if self.failure:
            raise self.failure
        self.applied.append(obj["metadata"]["name"])
        return obj


def runtime(name: str, **labels: str) -> Object:
    return {"kind": "ModelRuntime", "metadata": {"name": name, "labels": labels}}


async def test_built_in_runtimes_are_made_and_refreshed_and_left_alone_once_unlabelled() -> None:
    cluster = Runtimes(fresh=runtime("fresh", **{"podium.dev/builtin": "true"}), taken=runtime("taken"))

    again = await apply_runtimes(cluster, [runtime("absent"), runtime("fresh"), runtime("taken")])  # type: ignore[arg-type]

    assert cluster.applied == ["absent", "fresh"]
    assert again == []


async def test_a_runtime_that_is_refused_is_tried_again_and_stops_no_other() -> None:
    cluster = Runtimes()
    cluster.failure = ApiError(500, "InternalError", "ill")

    again = await apply_runtimes(cluster, [runtime("a"), runtime("b")])  # type: ignore[arg-type]

    assert [one["metadata"]["name"] for one in again] == ["a", "b"]


def test_the_charts_runtimes_can_be_read_and_carry_the_label() -> None:
    file = Path(__file__).resolve().parents[2] / "charts/podium/files/runtimes.yaml"

    found = {one["metadata"]["name"]: one["metadata"]["labels"] for one in read_runtimes(str(file))}

    assert {"onnxruntime", "torchserve"} <= found.keys()
    assert all(labels["podium.dev/builtin"] == "true" for labels in found.values())


@pytest.mark.parametrize(
    ("text", "words"),
    [("kind: Pod\nmetadata: {name: a}", "document 1 is a Pod"), ("- 1", "document 1 is a list"), ("a: [", "runtimes")],
)
def test_a_file_that_holds_something_else_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "runtimes.yaml"
    file.write_text(text)

    with pytest.raises(InvalidRuntimes, match=words):
        read_runtimes(str(file))


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidRuntimes, match=r"/nowhere/runtimes\.yaml"):
        read_runtimes("/nowhere/runtimes.yaml")


@pytest.mark.parametrize("failure", [KeyError("x"), MemoryError(), ExceptionGroup("g", [ValueError()])])
async def test_a_part_that_fails_goes_on_and_is_counted_and_told(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "FIRST_RESTART", 0.01)
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


async def test_runtimes_that_cannot_be_applied_do_not_keep_the_leader_from_its_work() -> None:
    cluster = Runtimes(odd={"metadata": {"labels": ["no", "map"]}})

    assert await apply_fenced(cluster, [runtime("odd")]) == [runtime("odd")]  # type: ignore[arg-type]
