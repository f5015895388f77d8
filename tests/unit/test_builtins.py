"""The built-in ModelRuntimes: kept as they came, and a person's once the label is gone."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from podium.keys import Key
from podium.kube.client import ApiError, NotLeader, Object
from podium.kube.resources import MODEL_RUNTIMES
from podium.reconcile.builtins import BuiltIns, InvalidRuntimes, read_runtimes
from podium.reconcile.outcome import PassRefused
from podium.settings import Settings
from podium.watch.cache import Cache
from podium.watch.feed import Feed
from tests.unit.planner.apiserver import ApiServer, Client

FILE = Path(__file__).resolve().parents[2] / "charts/podium/files/runtimes.yaml"
NAMES = [one["metadata"]["name"] for one in yaml.safe_load_all(FILE.read_text())]
NAME = NAMES[0]
LABEL = "podium.dev/builtin"


class Due(list[Key]):
    """A queue that is worked off at once, by hand."""

    def add(self, key: Key) -> None:
        self.append(key)


class Term:
    """A leader with an API server; `settle` delivers what watches bring, and works off what that makes due."""

    def __init__(self, **settings: Any) -> None:
        self.api = ApiServer(lambda: datetime(2030, 1, 1, tzinfo=UTC))
        self.client, self.cache, self.due = Client(self.api), Cache(), Due()
        self.feed = Feed(self.cache, self.due)  # type: ignore[arg-type]
        self.seconds, self.delivered = 0.0, 0
        given = Settings(identity="one", **{"runtimes_file": str(FILE)} | settings)
        self.builtins = BuiltIns(self.cache, self.client, given, lambda: self.seconds)
        self.due += self.builtins.keys()

    async def settle(self) -> list[float]:
        """Answers when passes want to be called again."""
        again = []
        while self.due or self.delivered < len(self.api.streams[MODEL_RUNTIMES]):
            for event in self.api.streams[MODEL_RUNTIMES][self.delivered :]:
                self.delivered += 1
                self.feed.seen(MODEL_RUNTIMES, event.type, event.obj)
            due, self.due[:] = list(self.due), []
            waits = [await self.builtins.reconcile(key) for key in due]
            again += [wait for wait in waits if wait is not None]
        return again

    def edit(self, change: Callable[[Object], Any]) -> None:
        self.api.update(MODEL_RUNTIMES, "", NAME, change, "person")

    @property
    def live(self) -> Object:
        found = self.api.get(MODEL_RUNTIMES, None, NAME)
        assert found is not None
        return found

    @property
    def applied(self) -> list[str]:
        return [call.name for call in self.client.calls if call.verb == "apply"]


@pytest.fixture
async def term() -> Term:
    term = Term()
    await term.settle()
    assert term.applied == NAMES, "once each: what the watch brings back of it is no reason for another"
    term.client.calls.clear()
    return term


def extra(obj: Object) -> None:
    obj["spec"]["ports"] = {"http": 1}


async def test_one_that_is_edited_is_put_back(term: Term) -> None:
    image = term.live["spec"]["image"]

    term.edit(lambda obj: obj["spec"].update(image="somebody/else:1"))
    await term.settle()

    assert term.live["spec"]["image"] == image
    assert term.applied == [NAME]


async def test_one_that_is_deleted_is_made_again_at_once(term: Term) -> None:
    term.api.delete(MODEL_RUNTIMES, "", NAME)

    await term.settle()

    assert term.live["metadata"]["labels"][LABEL] == "true"
    assert term.applied == [NAME]


async def test_one_that_a_person_took_over_is_left_alone_in_this_term_and_the_next(term: Term) -> None:
    def take(obj: Object) -> None:
        obj["metadata"]["labels"].pop(LABEL)
        extra(obj)

    term.edit(take)
    await term.settle()
    term.edit(lambda obj: obj["spec"].update(ports={"http": 2}))
    await term.settle()
    term.builtins.step_down()
    term.due.append(MODEL_RUNTIMES.key("", NAME))
    await term.settle()

    assert term.client.calls == []


async def test_one_that_was_taken_over_before_the_watch_told_of_it_is_left_alone(term: Term) -> None:
    term.edit(extra)
    event = term.api.streams[MODEL_RUNTIMES][-1]
    term.edit(lambda obj: obj["metadata"]["labels"].pop(LABEL))

    term.feed.seen(MODEL_RUNTIMES, event.type, event.obj)
    await term.builtins.reconcile(MODEL_RUNTIMES.key("", NAME))

    assert LABEL not in term.live["metadata"]["labels"]
    assert term.applied == []


async def test_a_persons_annotation_is_no_reason_to_ask_the_api_server(term: Term) -> None:
    term.edit(lambda obj: obj["metadata"].update(annotations={"team": "a"}))

    await term.settle()

    assert term.client.calls == []


async def test_each_term_begins_with_applying_all(term: Term) -> None:
    term.builtins.step_down()
    term.due += term.builtins.keys()

    await term.settle()

    assert term.applied == NAMES


async def test_who_deletes_it_time_and_again_is_not_fought(term: Term, caplog: pytest.LogCaptureFixture) -> None:
    limit = Settings(identity="one").drift_limit
    for _ in range(limit):
        term.api.delete(MODEL_RUNTIMES, "", NAME)
        assert await term.settle() == []

    term.api.delete(MODEL_RUNTIMES, "", NAME)
    [wait] = await term.settle()

    assert len(term.applied) == limit
    term.due.append(MODEL_RUNTIMES.key("", NAME))
    assert await term.settle() == [wait]
    assert caplog.text.count(f"remove its label {LABEL}") == 1, "told once"
    term.seconds += wait
    term.due.append(MODEL_RUNTIMES.key("", NAME))
    assert await term.settle() == []
    assert term.live


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (ApiError(403, "Forbidden", "no"), PassRefused),
        (ApiError(409, "Conflict", "stale"), ApiError),
        (ApiError(500, "InternalError", "ill"), ApiError),
    ],
)
async def test_what_is_refused_comes_again(failure: ApiError, raised: type[Exception]) -> None:
    term = Term()
    term.client.faults = [failure]

    with pytest.raises(raised) as found:
        await term.settle()

    if isinstance(found.value, PassRefused):
        assert found.value.retry_after == 30.0
    term.due += term.builtins.keys()
    await term.settle()
    assert {one["metadata"]["name"] for one in term.api.all(MODEL_RUNTIMES)} == set(NAMES)


async def test_other_runtimes_and_namespaced_mode_are_no_concern() -> None:
    term = Term(watch_namespaces=("ns",))
    assert term.builtins.keys() == []

    assert await term.builtins.reconcile(MODEL_RUNTIMES.key("", "own")) is None
    assert term.client.calls == []


async def test_labels_that_are_no_map_are_a_persons(term: Term) -> None:
    odd: Object = {"metadata": {"name": NAME, "uid": "u", "resourceVersion": "99999", "labels": ["no", "map"]}}
    term.feed.seen(MODEL_RUNTIMES, "MODIFIED", odd)

    await term.settle()

    assert term.client.calls == []


async def test_the_loss_of_the_lease_is_raised(term: Term) -> None:
    class Follower(Client):
        async def apply(self, obj: Object, *, manager: str = "podium") -> Object:
            raise NotLeader("lost")

    builtins = BuiltIns(term.cache, Follower(term.api), Settings(identity="one", runtimes_file=str(FILE)))

    with pytest.raises(NotLeader):
        await builtins.reconcile(MODEL_RUNTIMES.key("", NAME))


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
