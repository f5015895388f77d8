"""What must hold whatever happens (api.md, "Invariants for property tests"): checked at every write of the operator."""

import json
from datetime import datetime, timedelta
from random import Random
from typing import Any

from podium.api import names
from podium.api.v1alpha1 import ModelDeploymentSpec
from podium.kube.client import Object
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, ENDPOINT_SLICES, MODEL_DEPLOYMENTS, SERVICES
from podium.manifests.fetch import Fetcher
from podium.manifests.revision import inputs_digest
from podium.packed import to_json
from podium.reconcile.observe import Observer
from podium.reconcile.plan import Plan, plan
from podium.reconcile.writes import Enter
from podium.rollout.moment import Moment
from podium.rollout.strategies import STRATEGIES
from tests.unit.planner.apiserver import Call
from tests.unit.planner.controllers import ranked
from tests.unit.planner.world import KEY, NAME, NAMESPACE, World

RULES = {"person", "champion-down", "no-replicas", "first", "rolling-complete", "blue-green-available"}
"""All that may promote, of what this version can do."""


class Invariants:
    """Watches a world; an AssertionError names the call and the sentence that it breaks."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.uid = ""
        self.had_champion = False
        self.excused = False
        self.random = Random(0)
        self.before: dict[str, Any] = {}
        self.counted_by: dict[str, float] = {}
        self.cache, self.observer = (
            world.cache,
            Observer(world.cache, world.settings, Fetcher(world.settings.fetcher_image)),
        )
        world.client.before.append(self.take)
        world.client.after.append(self.check)
        world.after_pass.append(self.second_pass_makes_no_call)
        world.after_pass.append(self.plan_is_pure)
        world.after_pass.append(self.plan_stays_until_it_wants_to_be_woken)
        world.after_pass.append(self.note_min_ready)

    # --- at each write

    def take(self, call: Call) -> None:
        # An edit of minReadySeconds changes what counts as available, and takes nothing away.
        known = self.min_ready()
        self.before = {"min_ready": known, "serving": self.serving(known), "floor": self.floor()}
        if call.resource is MODEL_DEPLOYMENTS:
            self.ready_is_true(call)
        if call.verb == "delete":
            champion = self.champion()
            name = champion["metadata"]["name"] if champion else ""
            assert (call.resource, call.name) not in ((DEPLOYMENTS, name), (CONTROLLER_REVISIONS, name)), (
                f"{call}: the champion exists once there was one"
            )

    def check(self, call: Call) -> None:
        revisions = self.revisions()
        outcomes = [_annotation(r, names.ANNOTATION_OUTCOME) for r in revisions]
        assert outcomes.count("") <= 1, f"{call}: at most one candidate"
        if self.uid != self.world.md["metadata"]["uid"]:
            self.uid, self.had_champion = self.world.md["metadata"]["uid"], False  # it was deleted, and made anew
        self.had_champion = self.had_champion or "Promoted" in outcomes
        assert not self.had_champion or "Promoted" in outcomes, f"{call}: the champion exists once there was one"
        for revision, outcome in zip(revisions, outcomes, strict=True):
            rule = _annotation(revision, names.ANNOTATION_RULE)
            assert outcome != "Promoted" or rule in RULES, f"{call}: promoted only by a known rule, not {rule!r}"
        self.two_revisions_have_pods(call)
        floor = self.before["floor"]
        if floor is not None:
            least, now = min(floor, self.before["serving"]), self.serving(self.before["min_ready"])
            assert now >= least, (
                f"{call}: no write of a RollingUpdate takes available below min(T - U, what it was before the write): "
                f"{now} of at least {least} will be left\n{self.world.describe()}"
            )

    def two_revisions_have_pods(self, call: Call) -> None:
        world = self.world
        wanted = {
            d["metadata"]["name"]
            for d in world.api.all(DEPLOYMENTS)
            if d["spec"]["replicas"] > 0 and "deletionTimestamp" not in d["metadata"]
        }
        present = {p["metadata"]["labels"][names.LABEL_REVISION] for p in world.pods()}
        champion = self.champion()
        name = champion["metadata"]["name"] if champion else ""
        down = not any(world.cluster.has_been_ready(pod, 0) for pod in world.pods(name, terminating=False))
        # With the champion down nothing is waited for, and what that left behind may still be terminating.
        # Nor is what has pods known any more once somebody has deleted its record.
        known = {revision["metadata"]["name"] for revision in self.revisions()}
        crowded = len((wanted | present) & known) > 3
        self.excused = crowded and (self.excused or down)
        assert self.excused or not crowded, (
            f"{call}: at most two revisions have pods, three while one terminates: {sorted(wanted | present)}\n"
            f"{world.describe()}"
        )

    def ready_is_true(self, call: Call) -> None:
        conditions = {c["type"]: c["status"] for c in call.body.get("conditions", [])}
        if conditions.get("Ready") != "True":
            return
        md, champion = self.world.md, self.champion()
        seen = self.world.cache.get(MODEL_DEPLOYMENTS, NAMESPACE, NAME)
        assert seen is not None
        if seen["metadata"]["resourceVersion"] != md["metadata"]["resourceVersion"]:
            return  # refused with 409
        assert call.body["observedGeneration"] == md["metadata"]["generation"], f"{call}: Ready=True of another spec"
        spec = ModelDeploymentSpec.parse(md["spec"])
        assert champion is not None, f"{call}: Ready=True without a champion"
        inputs = inputs_digest(champion["data"]["inputs"])
        assert inputs == inputs_digest(spec.inputs()), f"{call}: Ready=True, but spec's revision is not the champion"
        slices = self.world.cache.owned(ENDPOINT_SLICES, NAMESPACE, NAME)
        listed = [
            e
            for s in slices
            if s["metadata"]["labels"]["kubernetes.io/service-name"] == NAME
            for e in s["endpoints"]
            if e["conditions"]["ready"]
        ]
        zero = spec.replicas == 0 and spec.autoscaling is None
        assert listed or zero, f"{call}: Ready=True without a ready endpoint behind the stable Service"

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
        world.after_pass, checks = [], world.after_pass
        try:
            world.reconcile()
        finally:
            world.after_pass = checks
        more = [str(call) for call in world.client.calls[calls:]]
        if more == [f"status ModelDeployment {NAME}"] and any(world.lag.values()):
            more, said = [], len(world.heard.said)  # the answer to a write told what a late watch had not
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
        told = any(world.lag.values())  # by the answer to a write: the late watch will wake it for that
        late = again is not None and (due is None or again < due) and not told
        assert not late, f"a second pass wants to be woken at {again}, the first at {due}"
        world.wakes.at = due

    def plan_is_pure(self) -> None:
        world = self.world
        if self.cache is not world.cache:
            self.cache, self.observer = (
                world.cache,
                Observer(world.cache, world.settings, Fetcher(world.settings.fetcher_image)),
            )
        observed = self.observer.observe(KEY, Moment(world.operators_time))
        if observed is None:
            return
        before = to_json([observed.obj, *observed.children.values()])
        fetcher = Fetcher(world.settings.fetcher_image)
        one, other = (plan(observed, Moment(world.operators_time), fetcher) for _ in range(2))
        assert one == other, "the plan is a pure function"
        after = to_json([observed.obj, *observed.children.values()])
        assert before == after, "the plan changes nothing of what was observed"

    def plan_stays_until_it_wants_to_be_woken(self) -> None:
        """While nothing happens no instant before the wake-up makes another plan."""
        world, fetcher = self.world, Fetcher(self.world.settings.fetcher_image)
        now, wake_at = self._planned(world.operators_time, fetcher)
        if now is None:
            return
        end = wake_at or world.operators_time + timedelta(hours=1)
        for share in (self.random.random(), 1):
            at = world.operators_time + (end - world.operators_time) * share - timedelta(milliseconds=1)
            later, _ = self._planned(max(at, world.operators_time), fetcher)
            assert later == now, (
                f"planned at {world.operators_time}, to be woken at {wake_at}, and at {at} it is\n{later}\nnot\n{now}"
            )

    def _planned(self, at: datetime, fetcher: Fetcher) -> tuple[Plan | list[Any] | None, datetime | None]:
        """What is to be done at that time; of decisions, which carry its stamp, only what they are about."""
        moment = Moment(at)
        observed = self.observer.observe(KEY, moment)
        made = plan(observed, moment, fetcher) if observed else None
        entries = [write.action.entry for write in made.writes if isinstance(write.action, Enter)] if made else []
        if entries:
            return [(entry.revision, sorted(entry.annotations)) for entry in entries], moment.wake_at
        return made, moment.wake_at

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
        """Whether other pods may count as available than at the last pass, by another minReadySeconds.

        While a Deployment's controller has not seen our last write, its minReadySeconds is not counted with.
        """
        if self.unsettled() and any(self.min_ready().values()):
            return True
        return any(self.counted_by.get(uid, seconds) != seconds for uid, seconds in self.min_ready().items())

    def note_min_ready(self) -> None:
        self.counted_by = self.min_ready()

    def min_ready(self) -> dict[str, float]:
        """minReadySeconds by uid of the Deployment."""
        return {d["metadata"]["uid"]: d["spec"].get("minReadySeconds", 0) for d in self.world.api.all(DEPLOYMENTS)}

    def revisions(self) -> list[Object]:
        """The ModelDeployment's, not a predecessor's of the same name nor a person's own that only has the label."""
        world = self.world
        uid = world.md["metadata"]["uid"]
        return [
            revision
            for revision in world.api.all(CONTROLLER_REVISIONS)
            if _annotation(revision, names.ANNOTATION_INPUTS)
            if isinstance(revision["data"], dict) and {"inputs", "template"} <= revision["data"].keys()
            if all(r["uid"] == uid for r in revision["metadata"].get("ownerReferences") or [])
        ]

    def champion(self) -> Object | None:
        """The Promoted revision with the latest decided-at."""
        promoted = [r for r in self.revisions() if _annotation(r, names.ANNOTATION_OUTCOME) == "Promoted"]
        stamps = [_annotation(r, names.ANNOTATION_DECIDED_AT) for r in promoted]
        if not all(stamp.startswith("203") and stamp.endswith("Z") for stamp in stamps):
            return max(promoted, key=lambda r: r["revision"])  # somebody made one unreadable
        return max(promoted, key=lambda r: _annotation(r, names.ANNOTATION_DECIDED_AT), default=None)

    def floor(self) -> int | None:
        """T - U of the RollingUpdate under way, forwards or backwards; None without one, or when no pods are wanted."""
        spec = self.world.spec
        if self.champion() is None or (spec.get("replicas", 1) == 0 and "autoscaling" not in spec):
            return None
        for revision in sorted(self.revisions(), key=lambda r: -r["revision"]):
            if _annotation(revision, names.ANNOTATION_OUTCOME) == "Promoted":
                continue
            if self.world.live(DEPLOYMENTS, revision["metadata"]["name"]) is None:
                continue
            record = _record(revision)
            if not record:
                return None  # somebody took it away, or made it unreadable
            if record["strategy"] != "RollingUpdate":
                return None
            least = int(record["size"] - record["unavailable"])
            # The last write of a rollback goes on to what spec asks for by then, which may be less than T.
            over = bool(_annotation(revision, names.ANNOTATION_OUTCOME)) and "autoscaling" not in spec
            return min(least, spec.get("replicas", 1)) if over else least
        return None

    def serving(self, min_ready: dict[str, float]) -> int:
        """Available pods behind the stable Service once every Deployment has been brought to its size."""
        world = self.world
        service = world.live(SERVICES, NAME)
        if service is None:
            return 0
        selector = service["spec"]["selector"]
        found = 0
        for deployment in world.api.all(DEPLOYMENTS):
            if "deletionTimestamp" in deployment["metadata"]:
                continue
            pods = ranked(world.cluster.active_pods(deployment))
            left = pods[max(0, len(pods) - deployment["spec"]["replicas"]) :]
            found += sum(
                1
                for pod in left
                if selector.items() <= pod["metadata"]["labels"].items()
                and world.cluster.has_been_ready(pod, min_ready.get(deployment["metadata"]["uid"], 0))
            )
        return found


def _record(revision: Object) -> Object:
    """Of its rollout; empty where it cannot be read, or names what this version does not know."""
    try:
        found = json.loads(_annotation(revision, names.ANNOTATION_ROLLOUT))
        return found if isinstance(found["size"], int) and found["strategy"] in STRATEGIES else {}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


def _annotation(obj: Object, name: str) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(name, ""))
