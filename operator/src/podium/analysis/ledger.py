"""The ledger of one rollout: what was frozen at its start, a checkpoint, and the intervals counted since.

    replay(checkpoint + intervals) = state -> decision        the next checkpoint is that state

Both are pure, so an operator that takes over counts nothing twice and comes to the decision that was made. Intervals
are replayed one by one: their sum would be something else, unless n1 : n0 was the same in all of them and the form is
RR-e. What a restart missed is one coarse interval if the weight stayed, else an interval that straddles.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import Any

from podium.analysis import state as states
from podium.analysis import wire
from podium.analysis.decision import Circumstances, Decision, decide
from podium.analysis.intervals import Interval
from podium.analysis.plan import Plan
from podium.analysis.state import State
from podium.analysis.typed import check

VERSION = 1
MOST_BYTES = 256 * 1024
"""Of a ledger as text."""
MOST_COUNTED = 2**63 - 1
"""The largest whole number that can be written into status."""
_DIGITS = 2
MOST_ROWS = 100
"""Of its trace; beyond it every second one goes."""


class LedgerUnreadable(ValueError):
    """It is no ledger, or another version's."""


class LedgerOfAnotherVersion(LedgerUnreadable):
    """Another Podium reads it."""


class LedgerChanged(ValueError):
    """Its digest is another than the one that was recorded: somebody else wrote it."""


@dataclass(frozen=True)
class Row:
    """How strong the evidence was at one moment, for people who look back: nothing is decided by it."""

    at: float
    """Seconds since 1970."""
    harm: float
    """Natural logarithm of the weighted sum of evidence of harm."""
    better: tuple[float, ...]
    """Natural logarithms of the evidence for promotion, of the metrics that decide."""


@dataclass(frozen=True)
class Ledger:
    """A plan, a checkpoint, and the intervals since."""

    plan: Plan
    checkpoint: State
    intervals: tuple[Interval, ...] = ()
    seen: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Counters last seen, by series: from them the next interval is counted."""
    trace: tuple[Row, ...] = ()
    """Evidence at earlier checkpoints, at most MOST_ROWS of them."""

    @staticmethod
    def begin(plan: Plan) -> "Ledger":
        """The ledger of an analysis that begins."""
        return Ledger(plan, states.begun(plan))

    def record(self, interval: Interval, seen: Mapping[str, Mapping[str, float]]) -> "Ledger":
        """The same with one more interval. Raises ValueError for one that begins before the last one's end."""
        until = self.intervals[-1].end if self.intervals else self.checkpoint.until
        if not until <= interval.start <= interval.end:
            raise ValueError(f"an interval from {interval.start} to {interval.end} cannot follow one until {until}")
        return replace(self, intervals=(*self.intervals, interval), seen=seen)

    def checkpointed(self) -> "Ledger":
        """The same with all intervals folded into the checkpoint: no evidence changes."""
        if not self.intervals:
            return self
        state = replay(self)
        trace = (*self.trace, _row(self.plan, state))
        kept = trace if len(trace) <= MOST_ROWS else trace[::2]
        return replace(self, checkpoint=state, intervals=(), trace=kept)

    def to_text(self) -> str:
        """As it is stored: at most MOST_BYTES, folded where it would be more."""
        text = _text(self)
        return text if len(text) <= MOST_BYTES or not self.intervals else _text(self.checkpointed())


def replay(ledger: Ledger) -> State:
    """The state that checkpoint and intervals come to."""
    return reduce(partial(states.fold, ledger.plan), ledger.intervals, ledger.checkpoint)


def history(ledger: Ledger) -> Iterator[Row]:
    """How the evidence grew: by checkpoint as long as the trace goes back, then by interval."""
    yield from ledger.trace
    state = ledger.checkpoint
    for interval in ledger.intervals:
        state = states.fold(ledger.plan, state, interval)
        yield _row(ledger.plan, state)


def decided(ledger: Ledger, circumstances: Circumstances) -> Decision:
    """The decision that the ledger comes to under those circumstances."""
    return decide(ledger.plan, replay(ledger), circumstances)


def digest(text: str, rollout: str = "") -> str:
    """SHA-256, 64 hex digits, of the id of a rollout and the text of its ledger."""
    return hashlib.sha256(f"{rollout}{text}".encode()).hexdigest()


def read(text: str, recorded: str | None = None, rollout: str = "") -> Ledger:
    """A stored ledger. Raises LedgerChanged where its digest is not the recorded one, and LedgerUnreadable."""
    if recorded is not None and digest(text, rollout) != recorded:
        raise LedgerChanged("it was changed, and not by Podium")
    try:
        data = json.loads(text, parse_constant=_number, parse_float=_number, parse_int=_whole)
        version = data["version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LedgerUnreadable(f"it holds no ledger: {error}") from error
    if version != VERSION:
        told = f"it holds a ledger of version {version!r}, and this Podium reads version {VERSION}"
        raise LedgerOfAnotherVersion(told)
    try:
        return _from_json(data)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise LedgerUnreadable(f"it holds no ledger of version {VERSION}: {error!r}") from error


def _number(text: str) -> float:
    """One that can be counted with and written again: neither NaN nor infinite."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


def _whole(text: str) -> int:
    if abs(_number(text)) > MOST_COUNTED:
        raise ValueError(f"{text[:20]}… is more than is counted")
    return int(text)


def _row(plan: Plan, state: State) -> Row:
    found = decide(plan, state, Circumstances())
    return Row(state.until, round(found.harm, _DIGITS), tuple(round(one.better, _DIGITS) for one in found.metrics))


def _text(ledger: Ledger) -> str:
    data = {
        "version": VERSION,
        "plan": wire.plan_to_json(ledger.plan),
        "checkpoint": wire.state_to_json(ledger.checkpoint),
        "intervals": [interval.to_json() for interval in ledger.intervals],
        "seen": ledger.seen,
        "trace": [[row.at, row.harm, *row.better] for row in ledger.trace],
    }
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _from_json(data: Mapping[str, Any]) -> Ledger:
    ledger = Ledger(
        plan=wire.plan_from_json(data["plan"]),
        checkpoint=wire.state_from_json(data["checkpoint"]),
        intervals=tuple(Interval.from_json(interval) for interval in data["intervals"]),
        seen=data["seen"],
        trace=tuple(Row(at, harm, tuple(better)) for at, harm, *better in data["trace"]),
    )
    check(ledger, Ledger)
    ledger.plan.check()
    if {metric.name for metric in ledger.plan.metrics} != set(ledger.checkpoint.metrics):
        raise ValueError("the checkpoint is not of the plan's metrics")
    if {len(found.starts) for found in ledger.checkpoint.metrics.values()} - {len(ledger.plan.starts)}:
        raise ValueError("the checkpoint is not of the plan's starts")
    return ledger
