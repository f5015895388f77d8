"""Events: written once, counted in a series when they come again, never in the way."""

import asyncio
import datetime
from collections.abc import Callable
from typing import Any

import pytest

from podium.kube import events
from podium.kube.client import ApiError, NotLeader, Object
from podium.kube.events import Recorder
from podium.kube.resources import Resource
from tests.until import until

MODEL = {
    "apiVersion": "podium.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "m", "namespace": "ns", "uid": "u", "resourceVersion": "7"},
}


START = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
TWO = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "m-2", "namespace": "ns"}}


class Writer:
    """An API server's Events, in memory."""

    def __init__(self) -> None:
        self.events: dict[str, Object] = {}
        self.merged: list[Object] = []
        """Counts that were written."""
        self.fail: list[Exception] = []
        self.meanwhile: list[Callable[[], None]] = []
        """What happens while an Event is on its way, one at each POST."""

    async def create(self, obj: Object) -> Object:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        if self.fail:
            raise self.fail.pop(0)
        name = obj["metadata"]["name"]
        if name in self.events:
            raise ApiError(409, "AlreadyExists", name)
        self.events[name] = obj
        return obj

    async def merge(self, resource: Resource, namespace: str | None, name: str, patch: Object) -> Object:
        if name not in self.events:
            raise ApiError(404, "NotFound", name)
        if patch:
            self.merged.append(patch)
        self.events[name] = {**self.events[name], **patch}
        return self.events[name]

    @property
    def counts(self) -> list[tuple[str, int]]:
        """Of each Event its note and its count."""
        return [(one["note"], one.get("series", {}).get("count", 1)) for one in self.events.values()]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Rig:
    def __init__(self) -> None:
        self.writer, self.clock = Writer(), Clock()
        self.recorder = self.new_process()

    def new_process(self) -> Recorder:
        wall = lambda: START + datetime.timedelta(seconds=self.clock.now)  # noqa: E731
        return Recorder(self.writer, "pod-1", clock=self.clock, now=wall)

    async def say(self, note: str = "25 % since 4m", **more: Any) -> None:
        given = {"type": "Normal", "reason": "StepReached", "action": "Shift", "note": note} | more
        self.recorder.emit(MODEL, **given)
        await self.recorder.flush(1)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_an_event_says_who_what_and_about_whom(rig: Rig) -> None:
    await rig.say()

    (event,) = rig.writer.events.values()
    assert event["apiVersion"] == "events.k8s.io/v1"
    assert event["metadata"]["namespace"] == "ns"
    assert event["regarding"] == {
        "apiVersion": "podium.dev/v1alpha1", "kind": "ModelDeployment", "namespace": "ns", "name": "m", "uid": "u",
        "resourceVersion": "7",
    }  # fmt: skip
    assert (event["reportingController"], event["reportingInstance"]) == ("podium", "pod-1")
    assert (event["type"], event["reason"], event["action"]) == ("Normal", "StepReached", "Shift")
    assert event["note"] == "25 % since 4m"


async def test_what_is_said_again_is_counted_with_the_time_of_the_last(rig: Rig) -> None:
    await rig.say()
    rig.clock.now = 30
    await rig.say()

    assert rig.writer.counts == [("25 % since 4m", 2)]
    assert rig.writer.merged == [{"series": {"count": 2, "lastObservedTime": "2030-01-01T00:00:30.000000Z"}}]


async def test_a_series_goes_on_for_as_long_as_six_minutes_bring_another(rig: Rig) -> None:
    for minute in (0, 6, 12, 18):
        rig.clock.now = 60.0 * minute
        await rig.say()

    assert rig.writer.counts == [("25 % since 4m", 4)]


async def test_after_six_minutes_without_the_next_is_a_new_Event(rig: Rig) -> None:
    await rig.say()
    rig.clock.now = events.SERIES_SECONDS + 1
    await rig.say()

    assert [count for _, count in rig.writer.counts] == [1, 1]


async def test_one_fault_is_one_Event_whatever_its_numbers_and_its_reason(rig: Rig) -> None:
    fault = {"type": "Warning", "action": "Observe", "fault": "CrashLoopBackOff", "related": TWO}
    await rig.say("ended 1 times", reason="Crashed", **fault)
    await rig.say("ended 2 times", reason="CrashLoopBackOff", **fault)
    await rig.say("ended 3 times", reason="Crashed", **fault)

    assert rig.writer.counts == [("ended 1 times", 3)]


@pytest.mark.parametrize(
    "more",
    [
        {"related": {**TWO, "metadata": {"name": "m-3", "namespace": "ns"}}},
        {"fault": "FetchFailed"},
        {"action": "Decide"},
        {"type": "Normal"},
    ],
    ids=["of another revision", "another fault", "another action", "another type"],
)
async def test_another_fault_is_another_Event(rig: Rig, more: dict[str, Any]) -> None:
    fault: dict[str, Any] = {"type": "Warning", "action": "Observe", "fault": "CrashLoopBackOff", "related": TWO}
    await rig.say("ended 1 times", **fault)
    await rig.say("ended 2 times", **fault | more)

    assert [count for _, count in rig.writer.counts] == [1, 1]


async def test_the_revision_is_the_same_once_its_record_is_known(rig: Rig) -> None:
    known = {**TWO, "metadata": {**TWO["metadata"], "uid": "u-2", "resourceVersion": "9"}}  # type: ignore[dict-item]
    await rig.say(related=TWO)
    await rig.say(related=known)

    assert [count for _, count in rig.writer.counts] == [2]


async def test_from_the_third_time_on_a_count_is_written_once_a_minute_and_none_is_lost(rig: Rig) -> None:
    recorder = Recorder(rig.writer, "pod-1", clock=rig.clock)

    async def say(seconds: float) -> None:
        rig.clock.now = seconds
        recorder.emit(MODEL, type="Warning", reason="Degraded", action="Observe", note="1 of 2", fault="Degraded")
        for _ in range(20):
            await asyncio.sleep(0)

    running = asyncio.create_task(recorder.run())
    for second in range(50):
        await say(second)
    written = [patch["series"]["count"] for patch in rig.writer.merged]
    await recorder.flush(1)
    running.cancel()

    assert written == [2]
    assert rig.writer.counts == [("1 of 2", 50)]


async def test_a_count_that_is_due_later_is_written_though_nothing_more_happens(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "COUNTED_EVERY", 0.05)
    recorder = Recorder(rig.writer, "pod-1", clock=asyncio.get_running_loop().time)
    running = asyncio.create_task(recorder.run())
    for count in range(1, 4):
        recorder.emit(MODEL, type="Warning", reason="Degraded", action="Observe", note="1 of 2", fault="Degraded")
        await until(lambda count=count: rig.writer.counts == [("1 of 2", count)], 5)  # type: ignore[misc]
    running.cancel()


async def test_an_Event_that_has_expired_is_made_anew_with_the_newest_note(rig: Rig) -> None:
    await rig.say("ended 1 times", fault="CrashLoopBackOff")
    rig.writer.events.clear()
    await rig.say("ended 2 times", fault="CrashLoopBackOff")

    assert rig.writer.counts == [("ended 2 times", 1)]


async def test_what_is_said_again_after_a_crash_is_counted_and_not_doubled(rig: Rig) -> None:
    for _ in range(3):
        await rig.say()
    rig.recorder = rig.new_process()

    await rig.say()

    assert rig.writer.counts == [("25 % since 4m", 4)]


async def test_an_Event_whose_POST_failed_is_posted_with_the_next(rig: Rig) -> None:
    rig.writer.fail = [ApiError(500, "InternalError", "no")]
    await rig.say()
    await rig.say()

    assert rig.writer.counts == [("25 % since 4m", 1)]


async def test_another_sentence_is_another_event(rig: Rig) -> None:
    await rig.say()
    await rig.say("50 % since 1m")
    await rig.say(type="Warning")

    assert len(rig.writer.events) == 3


async def test_no_more_series_are_remembered_than_the_bound(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "REMEMBERED", 10)
    for number in range(30):
        await rig.say(str(number))
    assert len(rig.recorder._series) == 10

    rig.clock.now = events.SERIES_SECONDS + 1
    await rig.say("the last")
    assert len(rig.recorder._series) == 1


async def test_a_long_note_is_cut_at_a_whole_character(rig: Rig) -> None:
    await rig.say("é" * 1000)

    (event,) = rig.writer.events.values()
    assert event["note"] == "é" * 512


@pytest.mark.parametrize("error", [ApiError(403, "Forbidden", "no"), NotLeader("closed"), RuntimeError("ours")])
async def test_a_failure_is_nobodys_but_its_own(rig: Rig, error: Exception) -> None:
    rig.writer.fail = [error]

    await rig.say("lost")
    await rig.say("kept")

    assert [event["note"] for event in rig.writer.events.values()] == ["kept"]


@pytest.mark.parametrize("error", [ApiError(500, "InternalError", "no"), NotLeader("closed"), RuntimeError("ours")])
async def test_what_happens_again_while_its_POST_fails_is_written(rig: Rig, error: Exception) -> None:
    rig.writer.fail = [error]
    again = {"type": "Normal", "reason": "StepReached", "action": "Shift", "note": "25 % since 4m"}
    rig.writer.meanwhile = [lambda: rig.recorder.emit(MODEL, **again)]

    await rig.say()

    assert rig.writer.counts == [("25 % since 4m", 1)]


async def test_beyond_a_thousand_the_oldest_are_let_go(rig: Rig) -> None:
    for number in range(events.WAITING + 5):
        rig.recorder.emit(MODEL, type="Normal", reason="R", action="A", note=str(number))

    await rig.recorder.flush(5)

    assert rig.recorder.dropped == 5
    assert next(iter(rig.writer.events.values()))["note"] == "5"


async def test_the_rate_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "RATE", 100.0)
    recorder = Recorder(rig.writer, "pod-1", clock=asyncio.get_running_loop().time)
    running = asyncio.create_task(recorder.run())
    start = asyncio.get_running_loop().time()

    for number in range(int(events.BURST) + 20):
        recorder.emit(MODEL, type="Normal", reason="R", action="A", note=str(number))
    await until(lambda: len(rig.writer.events) == events.BURST + 20, 5)
    running.cancel()

    assert asyncio.get_running_loop().time() - start >= 0.19


async def test_a_text_that_is_none_is_written_as_well_as_can_be_and_stops_nothing() -> None:
    writer = Writer()
    recorder = Recorder(writer, "me")

    recorder.emit(MODEL, type="Normal", reason="R", note="version \ud800 serves", action="A")
    recorder.emit({"metadata": None}, type="Normal", reason="R", note="about nothing", action="A")
    recorder.emit(MODEL, type="Normal", reason="R", note="the next", action="A")
    await recorder.flush(1)

    assert [one["note"] for one in writer.events.values()] == ["version ? serves", "the next"]
