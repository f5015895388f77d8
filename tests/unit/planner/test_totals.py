"""What the ledger has counted is what callers saw, whoever measured and however often that ended.

The measuring is the real one (counting.py), and so is an outage of what it reads.
"""

from collections.abc import Iterator
from contextlib import closing
from random import Random

import pytest

from podium.analysis.ledger import read, replay
from podium.analysis.metrics import Counted
from podium.kube.client import Object
from podium.kube.resources import CONFIG_MAPS
from podium.manifests.ledger import ledger_in
from tests.unit.planner.counting import Counting
from tests.unit.planner.test_canary import PAUSE, one, record, two
from tests.unit.planner.test_canary_envoy import shares
from tests.unit.planner.test_envoy import routed
from tests.unit.planner.weighed import ALIKE, ALL_FAIL, STEPS, outcome, until_weighed
from tests.unit.planner.world import World, model

ANALYSIS: Object = {"interval": "2s", "metrics": [{"name": "errors", "type": "ErrorRate"}]}
ROUNDING = 2
"""Requests by which a total may differ: each of two routers has counted whole ones."""


class Scene:
    """Version 2 is on its way beside version 1, measured for real; nobody calls yet."""

    def __init__(self, steps: list[Object]) -> None:
        self.world = routed(rollout={"strategy": "Canary", "steps": steps, "analysis": ANALYSIS}, replicas=2)
        self.counting = Counting(self.world)
        self.world.measuring = self.counting
        self.world.hand_over()
        self.counting.callers.rate = 0.0
        self.world.edit(model=model("2"))
        self.world.until(lambda: self.world.status.get("candidate"))
        until_weighed(self.world)
        self.before = self.seen()

    def seen(self) -> tuple[tuple[float, float], ...]:
        """Of version 1 and of version 2: requests, and those that failed, since ever."""
        found = (self.counting.seen[revision] for revision in (one(self.world), two(self.world)))
        return tuple((each.requests, each.failures) for each in found)

    def off(self, totals: Counted) -> float:
        """By how many requests, at the most, totals differ from what callers have seen since the first weight."""
        return max(
            abs(now - before - totals[counter][arm])
            for arm, (nows, befores) in enumerate(zip(self.seen(), self.before, strict=True))
            for counter, now, before in zip(("finished", "5xx"), nows, befores, strict=True)
        )


def scene(steps: list[Object]) -> Iterator[Scene]:
    made = Scene(steps)
    with closing(made.counting):
        yield made


@pytest.fixture
def paused() -> Iterator[Scene]:
    """No verdict is possible: the last step waits for a person."""
    yield from scene([*STEPS, PAUSE])


@pytest.fixture
def going() -> Iterator[Scene]:
    """Evidence decides."""
    yield from scene(STEPS)


def ends(world: World, random: Random, times: int) -> int:
    """Whoever leads is killed after one of its next writes or hands over, time and again; answers how often."""
    found = 0
    for _ in range(times):
        led = world.reconciler
        if random.random() < 0.5:
            world.hand_over()
        else:
            world.client.kill_after = random.randint(1, 4)
        world.advance(random.choice([3, 7, 13, 20]))
        found += world.reconciler is not led
    world.client.kill_after = None
    return found


@pytest.mark.parametrize("seed", range(3))
def test_no_request_is_lost_or_counted_twice_however_often_the_operator_ends(paused: Scene, seed: int) -> None:
    world, counting = paused.world, paused.counting
    counting.callers.rate = 50.0
    assert ends(world, Random(seed), 12) >= 6
    counting.callers.rate = 0.0
    world.advance(30)  # what routers counted is read, and written down
    ((_, live),) = counting.analyst.analysed().values()
    assert live is not None
    assert live.state.counted["finished"][1] > 1_000
    assert paused.off(live.state.counted) <= ROUNDING
    ledger = replay(read(ledger_in(world.need(CONFIG_MAPS, f"{two(world)}-ledger"))))
    assert paused.off(ledger.counted) <= ROUNDING


@pytest.mark.parametrize(
    ("fails", "verdict"), [(ALIKE, ("Promoted", "evidence")), (ALL_FAIL, ("RolledBack", "harm: errors"))]
)
def test_ten_minutes_without_figures_hold_and_then_the_evidence_decides(
    going: Scene, fails: float, verdict: tuple[str, str]
) -> None:
    world, counting = going.world, going.counting
    counting.callers.rate = 200.0
    world.advance(5)
    counting.deaf.add("")
    counting.callers.fails["2"] = fails
    weights = shares(world)
    world.advance(600)
    assert not outcome(world)[0]
    assert (record(world).get("step", 0), shares(world)) == (0, weights)
    assert world.condition("Reconciling") == ("True", "NoData")
    assert world.condition("MetricsUnreachable") == ("True", "MetricsUnreachable")
    assert "did not answer within 1 s" in world.message("MetricsUnreachable")
    counting.deaf.clear()
    world.advance(3)
    assert world.condition("MetricsUnreachable") is None
    world.until(lambda: outcome(world)[0])
    assert outcome(world) == verdict


def test_what_happened_while_nobody_could_read_it_is_evidence_too(going: Scene) -> None:
    world, counting = going.world, going.counting
    counting.callers.rate = 200.0
    world.advance(5)
    counting.deaf.add("")
    counting.callers.fails["2"] = ALL_FAIL
    world.advance(100)
    counting.callers.rate = 0.0
    counting.deaf.clear()
    world.until(lambda: outcome(world) == ("RolledBack", "harm: errors"), within=5)
