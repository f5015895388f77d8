"""A canary through routers that goes by evidence: words for tests."""

import json

from podium.analysis.ledger import digest
from podium.api import names, queries
from podium.kube.client import Object
from podium.kube.resources import CONFIG_MAPS
from podium.manifests.ledger import ledger_in
from tests.unit.planner.measuring import EVERY
from tests.unit.planner.test_canary import two
from tests.unit.planner.test_canary_envoy import shares
from tests.unit.planner.test_envoy import routed
from tests.unit.planner.world import NAMESPACE, World, model

STEPS: list[Object] = [{"weight": 10, "for": "20s"}, {"weight": 50, "for": "20s"}]
ALIKE, ALL_FAIL = 0.01, 1.0
SILENT = "not all routers have been read for 20 s: router pod podium-router-1: 10.0.0.7:9902 did not answer within 1 s"


def weighed(
    *,
    candidate: float = ALIKE,
    rate: float = 200.0,
    replicas: int = 4,
    steps: list[Object] = STEPS,
    **rollout: object,
) -> World:
    """Version 2 is on its way beside version 1, and fails at this rate once it gets requests."""
    world = routed(rollout={"strategy": "Canary", "steps": steps, **rollout}, replicas=replicas)
    world.measuring.callers.rate, world.measuring.callers.candidate = rate, candidate
    world.edit(model=model("2"))
    world.until(lambda: world.status.get("candidate"))
    return world


def until_weighed(world: World) -> None:
    """Version 2 has its first weight."""
    world.until(lambda: shares(world)[1] > 0)


def weighing() -> World:
    """An analysis of which something has been counted."""
    world = weighed(rate=500.0)
    until_weighed(world)
    world.advance(3 * EVERY)
    return world


def outcome(world: World) -> tuple[str, str]:
    """Of version 2: what became of it, and by which rule."""
    decision = world.status["rollout"].get("decision", {})
    return decision.get("verdict", ""), decision.get("rule", "")


def stored(world: World) -> str:
    """The text of version 2's ledger."""
    return ledger_in(world.need(CONFIG_MAPS, f"{two(world)}-ledger"))


QUERY = 'sum(failed_total{namespace="{{namespace}}",pod=~"{{revision}}-.*"})'
CHECKOUT = {"name": "checkout", "type": "Prometheus", "events": QUERY, "total": QUERY.replace("failed", "all")}
ASKED = queries.filled(QUERY, namespace=NAMESPACE, revision="fraud-nsbhnf6vs9")
OUTAGE = (
    f"metric checkout: events ({ASKED}) got no answer of Prometheus at https://p ([Errno 111] Connection refused): see "
    "whether it runs, and whether a NetworkPolicy lets the operator there"
)
"""As podium.metrics says it: tests/unit/metrics/test_prometheus.py."""


def with_prometheus(**rollout: object) -> World:
    """As weighed, by errors and by what a Prometheus counts."""
    metrics = [{"name": "errors", "type": "ErrorRate"}, CHECKOUT | {"tolerate": "0.1%"}]
    return weighed(analysis={"metrics": metrics}, **rollout)


def is_decided_from(world: World) -> bool:
    """Whether the ledger that stands is the one that the record names."""
    found = world.annotations(two(world))
    return found[names.ANNOTATION_LEDGER] == digest(stored(world), json.loads(found[names.ANNOTATION_ROLLOUT])["id"])
