"""Events: written once, counted when repeated, never in the way."""

import asyncio
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


class Writer:
    """An API server's Events, in memory."""

    def __init__(self) -> None:
        self.events: dict[str, Object] = {}
        self.merged: list[Object] = []
        self.fail: list[Exception] = []

    async def create(self, obj: Object) -> Object:
        if self.fail:
            raise self.fail.pop(0)
        name = obj["metadata"]["name"]
        if name in self.events:
            raise ApiError(409, "AlreadyExists", name)
        self.events[name] = obj
        return obj

    async def merge(self, resource: Resource, namespace: str | None, name: str, patch: Object) -> Object:
        assert name in self.events
        self.merged.append(patch)
        return patch


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Rig:
    def __init__(self) -> None:
        self.writer, self.clock = Writer(), Clock()
        self.recorder = self.new_process()

    def new_process(self) -> Recorder:
        return Recorder(self.writer, "pod-1", clock=self.clock)

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


async def test_a_repeated_sentence_is_written_once_and_counted_later(rig: Rig) -> None:
    for _ in range(5):
        await rig.say()
    assert len(rig.writer.events) == 1
    assert rig.writer.merged == []

    rig.clock.now = events.REPEAT_SECONDS + 1
    await rig.say()

    assert [patch["series"]["count"] for patch in rig.writer.merged] == [6]


async def test_a_sentence_said_again_after_a_crash_is_counted_and_not_doubled(rig: Rig) -> None:
    await rig.say()
    rig.recorder = rig.new_process()

    await rig.say()

    assert len(rig.writer.events) == 1
    assert [patch["series"]["count"] for patch in rig.writer.merged] == [2]


async def test_another_sentence_is_another_event(rig: Rig) -> None:
    await rig.say()
    await rig.say("50 % since 1m")
    await rig.say(type="Warning")

    assert len(rig.writer.events) == 3


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
