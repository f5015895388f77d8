"""What must hold whatever happens in the planner's world.

The rules over its history are those of all worlds (tests/invariants), judged at every write of the operator; others
are about the planner itself: it is pure, it comes to rest, and it asks to be woken in time.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    MODEL_DEPLOYMENTS,
    PODS,
    SERVICES,
)
from podium.manifests.fetch import Fetcher
from podium.packed import to_json
from podium.reconcile.observe import Observer
from podium.reconcile.plan import Plan, plan
from podium.reconcile.views import Measures
from podium.reconcile.writes import Enter
from podium.rollout.moment import Moment
from tests.invariants import Judge, Version, reading
from tests.unit.planner.apiserver import Call
from tests.unit.planner.world import KEY, NAME, NAMESPACE, World

JUDGED = (MODEL_DEPLOYMENTS, CONTROLLER_REVISIONS, DEPLOYMENTS, SERVICES, CONFIG_MAPS, ENDPOINT_SLICES, PODS)
"""Kinds that the rules are about."""


class Invariants:
    """Watches a world; an AssertionError names the call and the sentence that it breaks."""

    def __init__(self, world: World, measures: Measures | None = None) -> None:
        """`measures`: what plans are judged with; without it by what the ledgers say."""
        self.world, self.measures = world, measures
        self.judge = Judge(alone=False)
        self.seen = dict.fromkeys(JUDGED, 0)
        self.random, self.passes = Random(0), 0
        self.counted_by: dict[str, float] = {}
        self.routed = False
        """Whether the stable Service led to the routers after the last pass."""
        self.cache, self.observer = (
            world.cache,
            Observer(
                world.cache, world.settings, Fetcher(world.settings.fetcher_image), world.routers,
                measures=self.measures,
            ),
        )  # fmt: skip
        world.client.before.append(self.take)
        world.client.after.append(self.check)
        world.after_pass.append(self.second_pass_makes_no_call)
        world.after_pass.append(self.plan_is_pure)
        world.after_pass.append(self.note_min_ready)

    # --- at each write

    def take(self, call: Call) -> None:
        """What others have written since is theirs."""
        self.judge.late = max([self.judge.late, *self.world.lag.values()])
        for version in self.versions(ours=False):
            self.judge.take(version)

    def check(self, call: Call) -> None:
        """What has come since then is what the call wrote."""
        written = self.versions(ours=True)
        broken = [one for version in written for one in self.judge.take(version)]
        assert not broken, "\n".join([f"{call}:", *broken, self.world.describe()])
        for version in written:
            rule = reading.annotations(version.obj).get(names.ANNOTATION_RULE)
            assert rule != "restored", (
                f"{call}: nothing was restored here, and every record was known from its beginning"
            )
        if call.resource is DEPLOYMENTS:
            self.no_router_asks_who_is_gone()

    def no_router_asks_who_is_gone(self) -> None:
        """Traffic leaves a revision, as every router has it, before its last pod is taken away."""
        world = self.world
        service = world.live(SERVICES)
        if (
            service is None
            or service["spec"]["selector"] != names.router_selector()
            or not world.spec.get("replicas", 1)
            or world.spec.get("suspend")
        ):
            return
        for name in {name for weights in world.routers.weights(NAME) for name, weight in weights.items() if weight}:
            if world.pods(name, terminating=False):
                assert world.replicas(name), f"routers still give requests to {name}, whose Deployment has none left"

    def versions(self, *, ours: bool) -> list[Version]:
        """Those that are new, in the API server's order."""
        found = []
        for resource in JUDGED:
            stream = self.world.api.streams[resource]
            for event in stream[self.seen[resource] :]:
                meta = event.obj["metadata"]
                if meta.get("namespace") == NAMESPACE:
                    revision = int(meta["resourceVersion"])
                    found.append(Version(revision, event.at.timestamp(), event.type, resource.kind, event.obj, ours))
            self.seen[resource] = len(stream)
        return sorted(found, key=lambda one: one.revision)

    def champion(self) -> Object | None:
        """The Promoted revision with the latest decision."""
        for version in self.versions(ours=False):
            self.judge.take(version)
        return reading.champion(self.judge.state)

    # --- after each pass

    def second_pass_makes_no_call(self) -> None:
        world = self.world
        due = world.wakes.at
        if world.api.terminating or world.live(MODEL_DEPLOYMENTS) is None or (due is not None and due <= world.now):
            return  # nothing can be done; or it asked for another pass at once
        if world.reconciler._applier.refusals(KEY):
            return  # it tries again, at every pass: nobody tells when a name or a quota becomes free
        if world.condition("Reconciling") == ("True", "ChampionUnavailable"):
            return  # this pass may have taken the last of the champion's pods, none of which was Ready: no more a hold
        calls, said = len(world.client.calls), len(world.heard.said)
        before = self.said()
        routed = world.selector() == names.router_selector()
        switched, self.routed = routed != self.routed, routed
        world.after_pass, checks = [], world.after_pass
        try:
            world.reconcile()
        finally:
            world.after_pass = checks
        more = [str(call) for call in world.client.calls[calls:]]
        if more == [f"status ModelDeployment {NAME}"] and any(world.lag.values()):
            more, said = [], len(world.heard.said)  # the answer to a write told what a late watch had not
        if more == [f"status ModelDeployment {NAME}"] and switched:
            # From this pass's own write on shares are told by weights, or by pods again.
            assert self.said() == before, world.describe()
            more, said = [], len(world.heard.said)
        if more == [f"apply Service {NAME}"] and self.emptied():
            more = []  # routers need not reach whom this pass's own write has left no pods: they are led to now
        weights = f"apply ConfigMap {names.routing_name(NAME)}"
        if weights in more and set(more) <= {weights, f"status ModelDeployment {NAME}"} and self.unsettled():
            # Weights follow the pods that count: of those that somebody had added, which this pass has taken back, the
            # Deployment's report from before tells nothing any more.
            more, said = [], len(world.heard.said)
        if more == [f"status ModelDeployment {NAME}"] and self.unsettled():
            # Counts that are no longer settled by our own write may change the sentence, but not what it says: unless
            # it was another minReadySeconds that was written, by which other pods are available.
            assert self.said() == before or self.recounted(), world.describe()
            more, said = [], len(world.heard.said)
        assert not more, (
            f"plan(apply(plan(x))) is a no-op, but a second pass without events did {more}\n{world.describe()}"
        )
        assert len(world.heard.said) == said, f"a second pass without events says {world.heard.said[said:]}"
        again = world.wakes.at
        # By the answer to a write: the late watch, or the Deployment's controller once it has seen it, will wake it.
        told = any(world.lag.values()) or self.unsettled()
        late = again is not None and (due is None or again < due) and not told
        assert not late, f"a second pass wants to be woken at {again}, the first at {due}"
        world.wakes.at = due

    def emptied(self) -> bool:
        """Whether nobody is to have pods any more, and the stable Service leads to the routers."""
        asked = {obj["spec"].get("replicas", 0) for obj in self.world.api.all(DEPLOYMENTS)}
        return asked <= {0} and self.world.selector() == names.router_selector()

    def plan_is_pure(self) -> None:
        """The same is planned of the same, which no plan changes, and while nothing happens until the wake-up."""
        world, fetcher = self.world, Fetcher(self.world.settings.fetcher_image)
        if self.cache is not world.cache:
            self.cache, self.observer = (
                world.cache,
                Observer(world.cache, world.settings, fetcher, world.routers, measures=self.measures),
            )
        moment = Moment(world.operators_time)
        observed = self.observer.observe(KEY, moment)
        if observed is None:
            return
        made = plan(observed, moment, fetcher)
        self.passes += 1
        if self.passes % 2:
            before = to_json([observed.obj, *observed.children.values()])
            assert plan(observed, moment, fetcher) == made, "the plan is a pure function"
            after = to_json([observed.obj, *observed.children.values()])
            assert before == after, "the plan changes nothing of what was observed"
        if made is not None:
            # What this observer saw change for the first time has its Event now, and none later.
            self.plan_stays_until(moment.wake_at, replace(made, notes=()), fetcher)

    def plan_stays_until(self, wake_at: datetime | None, made: Plan, fetcher: Fetcher) -> None:
        """No instant before the wake-up makes another plan: the last one of them is asked, or by chance another one."""
        now = self.world.operators_time
        end = wake_at or now + timedelta(hours=1)
        share = self.random.choice((1, self.random.random()))
        at = max(now + (end - now) * share - timedelta(milliseconds=1), now)
        moment = Moment(at)
        observed = self.observer.observe(KEY, moment)
        later = plan(observed, moment, fetcher) if observed else None
        assert later is not None
        assert _to_do(later) == _to_do(made), (
            f"planned at {now}, to be woken at {wake_at}, and at {at} it is\n{later}\nnot\n{made}"
        )

    # --- what they ask

    def said(self) -> list[str]:
        """What the conditions say that people and tools wait for."""
        return [(self.world.condition(kind) or ("", ""))[0] for kind in ("Ready", "Available", "Stalled")]

    def unsettled(self) -> bool:
        """Whether a Deployment's controller has not seen our last write yet."""
        return any(
            (d.get("status") or {}).get("observedGeneration", 0) < d["metadata"]["generation"]
            for d in self.world.cache.owned(DEPLOYMENTS, NAMESPACE, NAME)
        )

    def recounted(self) -> bool:
        """Whether other pods may count as available than at the last pass, by another minReadySeconds."""
        return any(self.counted_by.get(uid, seconds) != seconds for uid, seconds in self.min_ready().items())

    def note_min_ready(self) -> None:
        self.counted_by = self.min_ready()

    def min_ready(self) -> dict[str, float]:
        """minReadySeconds by uid of the Deployment."""
        return {d["metadata"]["uid"]: d["spec"].get("minReadySeconds", 0) for d in self.world.api.all(DEPLOYMENTS)}


def _to_do(made: Plan) -> Plan | list[Any]:
    """What is to be done; of decisions, which carry their time's stamp, only what they are about."""
    entries = [write.action.entry for write in made.writes if isinstance(write.action, Enter)]
    return [(entry.revision, sorted(entry.annotations)) for entry in entries] or made
