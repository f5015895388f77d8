"""Evidence in plain words: why a version was rolled back, and what an analysis waits for. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from podium.analysis.decision import Decision, not_weighed, told
from podium.analysis.expect import Traffic
from podium.analysis.metrics import Kind as Type
from podium.analysis.plan import Metric
from podium.rollout.measuring import Snapshot
from podium.rollout.words import lasted, named, per_second, sentences, span

if TYPE_CHECKING:
    from podium.rollout.revision import RevisionState
    from podium.rollout.rule import Rule
    from podium.rollout.state import Situation

_EVENTS = {
    Type.ERROR_RATE: "failed",
    Type.REJECTIONS: "were rejections (4xx)",
    Type.ABANDONED: "were given up by their callers",
}
_REQUESTS = frozenset({Type.ABANDONED})
"""What counts requests, whether or not they were answered."""
_FEW = 10
"""Percent below which a share has digits behind the point."""
_HARDLY_ANY = 0.01
"""Requests a second below which a rate says nothing."""
_LONG = 86_400 * 30
"""Seconds beyond which nobody waits for a decision."""


def rollback_told(
    situation: Situation, revision: RevisionState, *, who_serves: bool = True, way_out: bool = True
) -> str:
    """Which revision was rolled back, why, who serves and, while spec still asks for it, how to go on.

    `situation`: after the decision. `who_serves`: unless that is told elsewhere. Status and the Event say the same, and
    so does whoever reads the record later.
    """
    champion, serves, way = situation.champion, "", ""
    if champion is not None and who_serves:
        serves = f"{named(champion, situation)} {'serves' if champion.reported else 'has no available pod'}"
    if way_out and situation.rejected is not None and situation.rejected.name == revision.name:
        way = f"to try it again: {situation.how_to('retry', revision)}"
        if champion is None or revision.inputs != champion.inputs:
            way = f"to end this, put spec back; {way}"  # a restart that failed asks for what the champion is made of
    return sentences(_taken_back(situation, revision), serves, way)


def _taken_back(situation: Situation, revision: RevisionState) -> str:
    """That a revision was rolled back, how long after its rollout had started, and why."""
    cause, at, rule = revision.cause, revision.decided_at, revision.decided_by
    rollout = revision.durable.rollout
    # Not known where a restore decided, or where the times contradict each other: edited, or another version's.
    known = rollout is not None and at is not None and at >= rollout.started_at and rule.lasts
    after = f" after {lasted(at - rollout.started_at)}" if known and rollout and at else ""
    after = "" if cause.startswith("after ") else after
    return f"{named(revision, situation)} was rolled back{after}: {cause or rule or 'nobody recorded why'}"


def rolled_back(snapshot: Snapshot, decision: Decision, worst: str, *, champion: str) -> str:
    """Which metric, both figures, how sure, and how many of its requests it cost: one line.

    `champion`: its version, or its name.
    """
    plan = snapshot.ledger.plan
    report = next(each for each in snapshot.reports if each.name == worst)
    metric = next(each for each in plan.metrics if each.name == worst)
    what, unit, counted = _event(metric), _unit(metric), report.counted
    sure = f"a version no worse would look like this in fewer than 1 of {told(decision.needed_for_harm)} rollouts"
    if plan.approximate:
        sure = f"evidence of harm {harm_told(decision)}"
    return (
        f"{share(counted.candidate_events, counted.candidate_units)} of its {unit} {what}, "
        f"{share(counted.champion_events, counted.champion_units)} of those of version {champion}; {sure}; "
        f"{counted.candidate_events:.0f} of its {unit} {what}"
    )


def by_version(said: str, situation: Situation) -> str:
    """A sentence of the analysis, which knows only roles, with the version that it begins with in the role's place."""
    for role, revision in (("the candidate", situation.candidate), ("the champion", situation.champion)):
        if revision is not None and said.startswith(f"{role} "):
            return f"{named(revision, situation)}{said.removeprefix(role)}"
    return said


def harm_told(decision: Decision) -> str:
    """How strong the evidence of harm is, where it is counted at the pods, whose callers are not assigned by lot."""
    return f"{told(decision.harm)} of {told(decision.needed_for_harm)} (approximate: errors counted at the pods)"


def step_told(what: str, rule: Rule | str, situation: Situation) -> str:
    """What a rollout goes on with, by which rule, and what was counted until then."""
    live = situation.findings.live if situation.findings else None
    counted = f"; {figures(live)}" if live else ""
    return f"{what} (rule {rule}){counted}"


def figures(snapshot: Snapshot) -> str:
    """What was counted of each metric so far, and how both versions compare."""
    told_of = []
    for report in snapshot.reports:
        counted, (low, high) = report.counted, report.interval
        sides = f"{counted.candidate_events:,.0f} of {counted.candidate_units:,.0f}"
        sides += f" (champion {counted.champion_events:,.0f} of {counted.champion_units:,.0f})"
        bounded = report.ratio is not None and math.isfinite(high)
        ratio = f", ratio {report.ratio:.2f} [{low:.2f}, {high:.2f}]" if bounded else ""
        told_of.append(f"{report.name} {sides}{ratio}")
    return "; ".join(told_of)


def awaited(snapshot: Snapshot) -> str:
    """How strong the evidence is, what is missing, and when a decision can be expected at the present traffic."""
    decision = snapshot.decision
    if snapshot.ledger.plan.approximate:
        return f"evidence of harm {harm_told(decision)}; {figures(snapshot)}"
    missing = [each for each in decision.metrics if not each.promotes]
    needed = told(decision.needed)
    if not decision.metrics:
        return not_weighed(snapshot.ledger.plan)
    if not missing:
        said = f"evidence of no harm is at least {needed} for every metric"
    else:
        weakest = min(missing, key=lambda each: each.better)
        others = f" ({_others(len(missing) - 1)})" if len(missing) > 1 else ""
        said = f"{weakest.name}: evidence {told(weakest.better)} of {needed} for no harm{others}"
    harm = f"evidence of harm {told(decision.harm)} of {told(decision.needed_for_harm)}"
    by_pod = {metric.name for metric in snapshot.ledger.plan.metrics if metric.type.by_pod}
    too_few = [each.name for each in missing if each.name in by_pod and not snapshot.traffic.alike]
    expected = _unequal(too_few[0]) if too_few else _expected(snapshot.seconds_left, snapshot.traffic)
    return f"{said}; {harm}; {expected}"


def _unequal(metric: str) -> str:
    """What keeps a metric of single pods from counting for promotion."""
    return (
        f"no decision can be expected at this weight: {metric} does not count for it while a pod of the candidate is "
        "asked less than half as much as one of the champion's, which a larger weight or more replicas end"
    )


def _others(count: int) -> str:
    return "1 other metric needs more, too" if count == 1 else f"{count} other metrics need more, too"


def _expected(seconds: float, traffic: Traffic) -> str:
    if seconds <= 0:
        return "enough evidence is there"
    if traffic.candidate + traffic.champion < _HARDLY_ANY:
        return "no decision can be expected until there are requests"
    rate = f"{per_second(traffic.candidate + traffic.champion)}, of which it gets {traffic.candidate:.3g}"
    if not math.isfinite(seconds) or seconds > _LONG:
        return f"no decision can be expected at {rate}"
    return f"about {span(seconds)} to a decision at {rate}"


def share(events: float, units: float) -> str:
    """Percent, as exact as it is worth: 0 %, 0.02 %, 3.1 %, 48 %."""
    if not units:
        return "none"
    percent = 100 * events / units
    if percent >= _FEW or percent == 0:
        return f"{percent:.0f} %"
    return f"{percent:.2g} %"


def _unit(metric: Metric) -> str:
    if metric.kind is Type.PROMETHEUS:
        return "total"
    return "requests" if metric.kind in _REQUESTS else "answers"


def _event(metric: Metric) -> str:
    if metric.edge is not None:
        edge = f"{metric.edge * 1000:.3g} ms" if metric.edge < 1 else f"{metric.edge:.3g} s"
        return f"took longer than {edge}"
    return _EVENTS.get(metric.kind, f"were events of {metric.name}")
