"""Canary: the candidate gets weight step by step, and all of it at the end or when a person says so.

Where the router keeps weights, they are the steps' own. Else the numbers of pods behind the stable Service make them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from podium.analysis.decision import Call
from podium.api.reasons import Reason
from podium.api.v1alpha1 import ModelDeploymentSpec, parse_duration
from podium.rollout.ending import ended_lately
from podium.rollout.judging import asks_a_person, ends_undecided, held, judged, missing, too_little
from podium.rollout.moment import Moment
from podium.rollout.record import RolloutRecord
from podium.rollout.rule import Kind, Rule
from podium.rollout.sentences import step_told
from podium.rollout.shares import BEYOND, Pods, enough_in_place, enough_replicas, exact_pods, pods_by_share
from podium.rollout.steps import Step, weight_at
from podium.rollout.strategies.base import Frozen, Move, Progress, Target, at_full_size
from podium.rollout.strategies.rolling import exchange, kept, sizes
from podium.rollout.traffic import WHOLE, Applied, Split
from podium.rollout.verdict import Hold
from podium.rollout.words import count, named, sentences

if TYPE_CHECKING:
    from podium.rollout.revision import RevisionState
    from podium.rollout.state import Situation

_STEP_COMPLETE = "step-complete"
"""The rule of a step that is not the end: the one before has lasted its time, and no harm was shown."""


class Canary:
    """With maxSurge 0 each pod of the candidate takes a champion's place; else they come beside the champion's."""

    preview = True
    shares_traffic = True
    undoable = True
    promotable = True
    grows = True
    stepwise = True

    def fixed_size(self, record: RolloutRecord) -> bool:
        """See Facts: where pods are exchanged, they are counted against T from step to step."""
        return record.surge == 0

    def freeze(self, spec: ModelDeploymentSpec, size: int) -> Frozen:
        """As a RollingUpdate, and the steps."""
        steps = tuple(
            Step(one.weight, timedelta(seconds=parse_duration(one.holds) if one.holds else 0))
            for one in spec.rollout.steps
        )
        return replace(sizes(spec, size), steps=steps)

    def impossible(self, situation: Situation, champion: RevisionState) -> Hold | None:
        """See Strategy: with one replica and no surge there can be no second pod to share requests with."""
        frozen = sizes(situation.spec, situation.size)
        if frozen.surge or situation.size != 1:
            return None
        return Hold(
            Reason.WEIGHT_NOT_POSSIBLE,
            "A Canary needs 2 pods, but 1 replica with spec.rollout.rollingUpdate.maxSurge 0 allows only 1: set "
            "maxSurge to 1, raise spec.replicas, or set spec.rollout.strategy to RollingUpdate.",
        )

    def excess(self, situation: Situation, champion: RevisionState, candidate: RevisionState) -> str:
        """See Strategy: one pod of few is a large share."""
        weight, pods = candidate.record.weight, _wanted(situation, champion, candidate)
        if candidate.record.promoting or not weight:
            return ""
        if situation.exact:
            return _short_of(situation, candidate, pods)
        if pods.share <= weight + BEYOND:
            return ""
        enough = enough_replicas(weight, beside=candidate.record.surge > 0)
        return (
            f"{weight} % of {count(situation.target, 'pod')} is not possible without a router: "
            f"{named(candidate, situation)} gets {pods.share:.0f} %; to get closer: raise spec.replicas to {enough}"
        )

    def needed(self, situation: Situation, champion: RevisionState, candidate: RevisionState) -> int:
        """See Strategy: the pods of its weight and, once it is promoted, all of T."""
        return _wanted(situation, champion, candidate).candidate

    def awaits_person(self, situation: Situation, candidate: RevisionState) -> bool:
        """See Strategy: at a pause among its steps, and after them."""
        record = candidate.record
        over = record.step >= len(record.steps) and situation.spec.rollout.promotion == "Manual"
        return not record.promoting and (record.waits or over)

    def advance(
        self, situation: Situation, champion: RevisionState, candidate: RevisionState, moment: Moment
    ) -> Progress | Hold | None:
        """See Strategy."""
        record = candidate.record
        if record.promoting or situation.champion_down_since is not None:
            return None
        stood = _stood(situation, record, moment)
        if stood is not None:
            return Progress(stood)
        if record.available_at is None and candidate.available >= self.needed(situation, champion, candidate):
            return Progress(record.available(moment.now))
        if situation.paused:
            return None
        if record.asked.awaited and record.weighed_at is None:
            if record.available_at is None or candidate.available < self.needed(situation, champion, candidate):
                return None
            weighed = replace(record, weighed_at=moment.now)
            return missing(situation, candidate) or Progress(weighed, too_little(situation, record), "TooLittleTraffic")
        waits = held(situation, candidate, moment)
        if waits is not None:
            return waits
        if record.step >= len(record.steps):
            return self._end(situation, candidate, moment)
        if record.waits:
            return _waits(situation, candidate) if record.available_at is not None else None
        if not self._is_applied(situation, champion, candidate):
            return None
        if record.applied_at is None:
            return Progress(record.applied(moment.now))
        if asks_a_person(situation, candidate, moment) or not moment.reached(record.holds_until):
            return None
        told = step_told(_next_step(record), _STEP_COMPLETE, situation)
        return Progress(record.onward(moment.now, situation.operator), told)

    def _end(self, situation: Situation, candidate: RevisionState, moment: Moment) -> Progress | Hold | None:
        if situation.spec.rollout.promotion == "Manual":
            ready = f"{named(candidate, situation)} has been through all steps and waits for a person"
            way = f"to promote it: {situation.how_to('promote', candidate)}"
            undecided = ends_undecided(situation, candidate, moment)
            return Hold(Reason.WAITING_FOR_PROMOTION, sentences(ready, undecided, way))
        waits = ended_lately(situation, candidate, moment)
        if waits is not None:
            return waits
        decision = judged(situation, candidate, moment) if candidate.record.asked.awaited else None
        grows = f"it grows to {count(situation.target, 'pod')} to be promoted"
        if decision is not None and decision.call is not Call.PROMOTE:
            return None  # evidence is awaited, until maxDuration
        rule = Rule(Kind.EVIDENCE if decision is not None and decision.proves else Kind.STEPS_COMPLETE)
        why = "all steps are over" if decision is None else decision.message
        promoted = candidate.record.promoted(rule, moment.now, situation.operator)
        return Progress(promoted, step_told(f"{why}: {grows}", rule, situation))

    def complete(
        self, situation: Situation, champion: RevisionState, candidate: RevisionState, moment: Moment
    ) -> Rule | Hold | None:
        """See Strategy: what promoted it decides as soon as it can carry all of the traffic."""
        return Rule.parse(candidate.record.promoting) if candidate.record.promoting else None

    def move(self, situation: Situation, champion: RevisionState, candidate: RevisionState, *, clear: bool) -> Move:
        """See Strategy: pods come before the weight that they carry, and weight goes before them."""
        record, serves = candidate.record, situation.traffic.serves(candidate.name)
        split = self._split(situation, champion, candidate, clear=clear)
        wanted = _wanted(situation, champion, candidate)
        if record.surge == 0 and (situation.paused or not (clear or serves)):
            left, taken = kept(champion, _unless(serves, candidate), _frozen(situation, record)), candidate.replicas
        else:
            left, taken = exchange(champion, _unless(serves, candidate), _frozen(situation, record))
            left, taken = max(left, wanted.champion), min(taken, wanted.candidate)
        if situation.spec.autoscaling is None or record.surge == 0:
            return Move(split, {champion.name: Target(left), candidate.name: Target(taken)})
        # The champion's HPA goes on adding pods: what it has made of them is T.
        whole = at_full_size(situation, champion, record.size)
        return Move(split, {champion.name: whole, candidate.name: _scaled(situation, candidate, taken)})

    def retreat(self, situation: Situation, champion: RevisionState, loser: RevisionState) -> Move:
        """At once where the champion can take all; else it grows first, and the traffic leaves pod by pod."""
        autoscaling, record = situation.spec.autoscaling, loser.record
        size = max(champion.replicas, loser.replicas) if autoscaling else situation.spec.replicas
        size = record.size if record.surge == 0 else size
        # By weights the champion has kept its pods for all of the traffic: a share by pods could be more than it was.
        enough = _known(champion) >= size - record.unavailable or (situation.exact and record.surge > 0)
        back = at_full_size(situation, champion, champion.replicas if autoscaling else situation.spec.replicas)
        if enough or not situation.traffic.serves(loser.name):
            return Move(Split.to(champion.name), {loser.name: Target(loser.replicas), champion.name: back})
        frozen = Frozen(size, size if record.surge else 0, record.unavailable)
        left, taken = exchange(loser, champion, frozen)
        if not champion.has_hpa:
            back = Target(taken)  # else its HPA has made T of it, and the pods that are missing come back by themselves
        return Move(_by_pods(champion, loser), {loser.name: Target(left), champion.name: back})

    def _split(self, situation: Situation, champion: RevisionState, candidate: RevisionState, *, clear: bool) -> Split:
        """Where requests go now, by the pods that there are for them."""
        alone = Split.to(champion.name, preview=candidate.name)
        record = candidate.record
        unweighed = record.asked.awaited and record.weighed_at is None
        if (record.weight == 0 or unweighed) and not record.promoting:
            return alone
        if situation.exact:
            given = _carried(situation, candidate)
            if not given or candidate.ready == 0:
                return alone
            weights = {candidate.name: given, champion.name: WHOLE - given}
            return Split({name: weight for name, weight in weights.items() if weight}, candidate.name)
        together = situation.traffic.serves(candidate.name) or (clear and candidate.available > 0)
        return _by_pods(champion, candidate, preview=candidate.name) if together else alone

    def _is_applied(self, situation: Situation, champion: RevisionState, candidate: RevisionState) -> bool:
        """Whether the step's pods are there, and the router says that requests go where they are to."""
        wanted, gives = _wanted(situation, champion, candidate), champion.workload
        if gives is None or not gives.settled or max(gives.live, gives.pods) > wanted.champion:
            return False
        if candidate.available < wanted.candidate:
            return False
        split = self._split(situation, champion, candidate, clear=False)
        least = min(_asked(candidate.record), _most(situation, wanted))
        full = not situation.exact or split.weights.get(candidate.name, 0) >= least
        return full and candidate.name in split.weights and situation.traffic.applied(split) is Applied.YES


def _stood(situation: Situation, record: RolloutRecord, moment: Moment) -> RolloutRecord | None:
    """The record once a pause that begins or ends is noted: the time of a step stands still in it."""
    counts = record.applied_at is not None or record.weighed_at is not None
    if not counts or situation.paused == (record.stood_since is not None):
        return None
    if record.stood_since is None:
        return replace(record, stood_since=moment.now)
    # Another operator's clock, which may be ahead, may have stamped it.
    lasted = max(moment.now - record.stood_since, timedelta(0))
    return replace(record, stood=record.stood + lasted, stood_since=None)


def _waits(situation: Situation, candidate: RevisionState) -> Hold:
    record = candidate.record
    place = f"step {record.step + 1} of {len(record.steps)}"
    told = f"{named(candidate, situation)} gets {record.weight} % of the requests and waits at {place}, a pause"
    way = f"to go on: {situation.how_to('resume', candidate)}"
    return Hold(Reason.WAITING_FOR_RESUME, sentences(told, way))


def _next_step(record: RolloutRecord) -> str:
    following = record.step + 1
    if following == len(record.steps):
        return "its only step is over" if following == 1 else f"the last of its {following} steps is over"
    step = record.steps[following]
    what = "a pause" if step.pauses else f"{step.weight} %"
    return f"step {following + 1} of {len(record.steps)}: {what}"


def _wanted(situation: Situation, champion: RevisionState, candidate: RevisionState) -> Pods:
    """The pods of both at the present step or, once it is promoted, at its end."""
    record, size = candidate.record, situation.target
    beside, autoscaled = record.surge > 0, situation.spec.autoscaling is not None
    if size == 0:
        return Pods(0, 0)
    if situation.exact:
        pods = exact_pods(record.weight, size, beside=beside)
        if autoscaled and beside:
            least = 1 if _handed_over(situation, record) else pods.candidate
            pods = replace(pods, candidate=max(least, candidate.replicas))
    else:
        pods = pods_by_share(record.weight, size, beside=beside, kept=autoscaled)
    if not record.promoting:
        return pods
    if situation.paused:
        return replace(pods, candidate=max(pods.candidate, candidate.replicas))
    return replace(pods, candidate=size) if beside else Pods(0, size)


def _handed_over(situation: Situation, record: RolloutRecord) -> bool:
    """Whether the candidate has had its weight and its own HPA sizes it now: the router keeps the weight."""
    scaled = situation.exact and situation.spec.autoscaling is not None and record.surge > 0
    return scaled and record.applied_at is not None and not record.promoting


def _scaled(situation: Situation, candidate: RevisionState, size: int) -> Target:
    autoscaling = situation.spec.autoscaling
    if autoscaling is None or not _handed_over(situation, candidate.record) or not candidate.scalable:
        return Target(size)
    least = max(1, math.ceil(autoscaling.min_replicas * candidate.record.weight / 100))
    return Target(candidate.replicas, autoscaled=True, min_replicas=least)


def _carried(situation: Situation, candidate: RevisionState) -> int:
    """Parts of 10,000 that a router gives the candidate: what is asked, but no more than its available pods are of T.

    As last reported: the count that a write of ours has just unsettled takes no weight away.
    """
    record, asked = candidate.record, _asked(candidate.record)
    carried = min(WHOLE, WHOLE * candidate.reported // max(1, situation.target))
    if record.promoting and record.surge == 0:
        return carried  # the champion's pods have given way to it
    if not candidate.reported:
        return 0
    if _handed_over(situation, record):
        return asked
    if situation.spec.autoscaling is not None and record.surge > 0:
        # An HPA of its own may have left it fewer pods, which were enough for the weight before.
        carried = max(carried, weight_at(record.steps, record.step - 1) * WHOLE // 100)
    return min(asked, carried)


def _most(situation: Situation, pods: Pods) -> int:
    """Parts of 10,000 that all pods of a candidate carry, where pods are exchanged and the champion keeps one."""
    return WHOLE * pods.candidate // max(1, situation.target)


def _short_of(situation: Situation, candidate: RevisionState, pods: Pods) -> str:
    """Why a router gives less than the weight of the step; nothing if it can be given."""
    weight, most = candidate.record.weight, _most(situation, pods)
    if candidate.record.surge or most >= _asked(candidate.record):
        return ""
    return (
        f"{weight} % of {count(situation.target, 'pod')} is not possible pod for pod, since one stays the champion's: "
        f"{named(candidate, situation)} gets {most // 100} %; to get closer: raise spec.replicas to "
        f"{enough_in_place(weight)}"
    )


def _asked(record: RolloutRecord) -> int:
    return record.weight * WHOLE // 100


def _frozen(situation: Situation, record: RolloutRecord) -> Frozen:
    """As the rollout's sizes, but that up to T pods of the candidate may be beside the champion's T."""
    size = situation.target
    return Frozen(size, size if record.surge else 0, min(size, record.unavailable))


def _unless(serves: bool, candidate: RevisionState) -> RevisionState:
    """The candidate, with 0 available pods while the Service does not select it: they replace no old pods yet."""
    if serves or candidate.workload is None:
        return candidate
    return replace(candidate, workload=replace(candidate.workload, available=0))


def _known(revision: RevisionState) -> int:
    """Available pods as last reported, so that a write of Podium's, not yet reported back, changes no traffic."""
    return min(revision.workload.available, revision.workload.live) if revision.workload else 0


def _by_pods(champion: RevisionState, other: RevisionState, *, preview: str | None = None) -> Split:
    """The numbers of pods make the weights, also of those whose count a write of ours has just unsettled."""
    return Split.by_pods({other.name: other.reported, champion.name: champion.reported}, preview=preview)
