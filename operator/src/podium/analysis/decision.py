"""What the evidence says now, in a fixed order, and why: roll back, hold, promote, inconclusive, or go on.

Always by current values, never by the largest so far: evidence may sink again, and a candidate with it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from podium.analysis.grids import log_sum_exp
from podium.analysis.plan import Plan, Role
from podium.analysis.split import ALPHA
from podium.analysis.state import State, log_better, log_harm


class Call(StrEnum):
    """What to do with the candidate."""

    ROLL_BACK = "RollBack"
    HOLD = "Hold"
    """Neither success nor failure: something that evidence relies on is missing."""
    PROMOTE = "Promote"
    INCONCLUSIVE = "Inconclusive"
    """The time is over: onInconclusive decides."""
    GO_ON = "GoOn"


@dataclass(frozen=True)
class Circumstances:
    """What the counts do not say."""

    steps_over: bool = False
    """Whether the candidate has been through all steps."""
    time_over: bool = False
    """Whether maxDuration is reached."""
    holds: tuple[str, ...] = ()
    """Why nothing may be promoted now, a sentence each: missing data, routers that disagree, a first crash."""


@dataclass(frozen=True)
class Strength:
    """How strong the evidence on one metric is, as natural logarithms: evidence may be beyond what floats hold."""

    name: str
    harm: float
    better: float
    """Guardrails: no worse than allowed. Goals: better."""
    promotes: bool
    """Whether `better` is enough."""


@dataclass(frozen=True)
class Decision:
    """A decision that explains itself."""

    call: Call
    rule: str
    """By what: `harm: errors`, `sample-ratio`, `no-data`, `evidence`, `steps-complete`, `max-duration`; or empty."""
    message: str
    harm: float
    """Log of the weighted sum of all metrics' evidence of harm ..."""
    needed_for_harm: float
    """... and of what is needed for a rollback."""
    needed: float
    """Log of what each metric needs for promotion."""
    metrics: tuple[Strength, ...]
    """Of those that decide, in the plan's order."""

    @property
    def proves(self) -> bool:
        """Whether it promotes since every metric's evidence is enough."""
        return self.rule == "evidence"

    @property
    def splits_wrongly(self) -> bool:
        """Whether it holds since requests are not split as the weight says, which a person has to end."""
        return self.rule == "sample-ratio"


@dataclass(frozen=True)
class _Asked:
    plan: Plan
    state: State
    circumstances: Circumstances
    metrics: tuple[Strength, ...]
    harm: float


_Finding = tuple[Call, str, str]
_Rule = Callable[[_Asked], _Finding | None]


def decide(plan: Plan, state: State, circumstances: Circumstances) -> Decision:
    """The first rule that applies decides: harm, holds, promotion, the end of the time."""
    needed = math.log(plan.needed)
    metrics = tuple(
        Strength(metric.name, log_harm(state, metric), better, better >= needed)
        for metric in plan.weighed
        for better in (log_better(state, metric),)
    )
    harm = log_sum_exp(strength.harm + math.log(plan.share) for strength in metrics) if metrics else 0.0
    asked = _Asked(plan, state, circumstances, metrics, harm)
    found = next((finding for rule in RULES if (finding := rule(asked)) is not None), (Call.GO_ON, "", _awaited(asked)))
    return Decision(*found, harm, math.log(plan.needed_for_harm), needed, metrics)


def harmed(asked: _Asked) -> _Finding | None:
    """The weighted sum of evidence of harm is enough."""
    needed = math.log(asked.plan.needed_for_harm)
    if not asked.metrics or asked.harm < needed:
        return None
    worst = max(asked.metrics, key=lambda strength: strength.harm)
    sure = f"a candidate no worse would look like this in fewer than 1 of {told(needed)} rollouts"
    if asked.plan.approximate:
        sure = "approximate: callers were not assigned by lot"
    message = f"{worst.name} got worse: evidence of harm {told(asked.harm)} of {told(needed)}; {sure}"
    return Call.ROLL_BACK, f"harm: {worst.name}", message


def split_wrong(asked: _Asked) -> _Finding | None:
    """Requests are not split as the weight says: no evidence can be trusted until a person says so."""
    if not asked.state.alarmed:
        return None
    message = (
        f"requests are not split as the weight says (by chance in fewer than 1 of {1 / ALPHA:,.0f} rollouts): callers "
        "keep connections, bypass the routers, or give up sooner on one side"
    )
    return Call.HOLD, "sample-ratio", message


def missing(asked: _Asked) -> _Finding | None:
    """Something that evidence relies on is not there."""
    holds = asked.circumstances.holds
    return (Call.HOLD, "no-data", "; ".join(holds)) if holds else None


def proven(asked: _Asked) -> _Finding | None:
    """The steps are over, and every metric's evidence is enough at the same moment."""
    if not asked.circumstances.steps_over:
        return None
    if asked.plan.approximate or not asked.plan.metrics:
        return Call.PROMOTE, "steps-complete", "all steps are over, and no harm was found"
    if not asked.metrics or not all(strength.promotes for strength in asked.metrics):
        return None
    weakest = min(asked.metrics, key=lambda strength: strength.better)
    needed = told(math.log(asked.plan.needed))
    return Call.PROMOTE, "evidence", f"all steps are over, and evidence is at least {told(weakest.better)} of {needed}"


def too_late(asked: _Asked) -> _Finding | None:
    """maxDuration is over before the evidence was enough."""
    if not asked.circumstances.time_over:
        return None
    return Call.INCONCLUSIVE, "max-duration", f"maxDuration is over: {_awaited(asked)}"


RULES: tuple[_Rule, ...] = (harmed, split_wrong, missing, proven, too_late)


def _awaited(asked: _Asked) -> str:
    needed = told(math.log(asked.plan.needed))
    goals = {metric.name for metric in asked.plan.metrics if metric.role is Role.GOAL}
    missing = [
        f"{strength.name}: evidence {told(strength.better)} of {needed} "
        f"{'that it is better' if strength.name in goals else 'for no harm'}"
        for strength in asked.metrics
        if not strength.promotes
    ]
    if missing and not asked.plan.approximate:
        return "; ".join(missing)
    if asked.plan.metrics and not asked.metrics:
        return not_weighed(asked.plan)
    return "the steps are not over" if not asked.circumstances.steps_over else "nothing is missing"


def not_weighed(plan: Plan) -> str:
    """Of a plan without a metric that can be weighed: latency alone, and without a threshold."""
    who = ", ".join(metric.name for metric in plan.metrics)
    return f"nothing is weighed: {who} has no threshold, for which the champion had answered too few requests"


def told(log: float) -> str:
    """Evidence as people read it: 0.02, 8.1, 1,300, 10^12."""
    if log > math.log(1e6):
        return f"10^{log / math.log(10):.0f}"
    value = math.exp(log)
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 19.95 else f"{value:,.0f}"
