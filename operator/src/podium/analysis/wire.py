"""Plan and state as JSON, and back: every float comes back as the same float, so a replay comes to the same decision.

Grids are little-endian doubles in base64: half as long as digits. Readers raise ValueError, KeyError or TypeError for
what this version did not write.
"""

import base64
import binascii
import math
import struct
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from podium.analysis.counts import Counts, Moments
from podium.analysis.curve import KNOTS
from podium.analysis.evidence import Cumulative, Evidence
from podium.analysis.grids import POINTS, Grid
from podium.analysis.mean import Mean, Sums
from podium.analysis.metrics import Counted, Kind
from podium.analysis.plan import Metric, Plan, Role
from podium.analysis.restarts import Start
from podium.analysis.state import Block, State


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """A JSON object."""
    return {
        "startedAt": plan.started_at,
        "alpha": plan.alpha,
        "approximate": plan.approximate,
        "starts": [[start.step, start.after] for start in plan.starts],
        "metrics": [{entry.name: getattr(metric, entry.name) for entry in fields(metric)} for metric in plan.metrics],
    }


def plan_from_json(data: Mapping[str, Any]) -> Plan:
    """The inverse."""
    return Plan(
        started_at=data["startedAt"],
        metrics=tuple(
            Metric(**{**metric, "kind": Kind(metric["kind"]), "role": Role(metric["role"])})
            for metric in data["metrics"]
        ),
        starts=tuple(Start(step, after) for step, after in data["starts"]),
        alpha=data["alpha"],
        approximate=data["approximate"],
    )


def state_to_json(state: State) -> dict[str, Any]:
    """A JSON object."""
    return {
        "metrics": {
            name: _mean_to_json(found) if isinstance(found, Mean) else _evidence_to_json(found)
            for name, found in state.metrics.items()
        },
        "block": list(state.block) if state.block else None,
        "until": state.until,
        "split": _packed(state.split),
        "alarmed": state.alarmed,
        "alarmedAt": state.alarmed_at,
        "counted": _pairs(state.counted),
        "weighed": _pairs(state.weighed),
        "seconds": state.seconds,
        "intervals": state.intervals,
        "dropped": state.dropped,
    }


def state_from_json(data: Mapping[str, Any]) -> State:
    """The inverse."""
    return State(
        metrics={
            name: _mean_from_json(found) if "rho" in found else _evidence_from_json(found)
            for name, found in data["metrics"].items()
        },
        block=Block(*data["block"]) if data["block"] is not None else None,
        until=data["until"],
        split=_unpacked(data["split"], POINTS),
        alarmed=data["alarmed"],
        alarmed_at=data.get("alarmedAt"),  # of a ledger from before it was noted: not known
        counted={name: (champion, candidate) for name, (champion, candidate) in data["counted"].items()},
        weighed={name: (champion, candidate) for name, (champion, candidate) in data["weighed"].items()},
        seconds=data["seconds"],
        intervals=data["intervals"],
        dropped=data["dropped"],
    )


def _evidence_to_json(found: Evidence) -> dict[str, Any]:
    return {
        "cumulative": _cumulative(found.cumulative),
        "block": _packed((*found.block_ratio, *found.block_rate)),
        "starts": [at and _cumulative(at) for at in found.starts],
        "table": _packed(found.table),
        "totals": list(found.totals),
        "usual": found.usual,
        "odds": found.by_odds,
    }


def _evidence_from_json(data: Mapping[str, Any]) -> Evidence:
    block, totals = _unpacked(data["block"], 2 * POINTS), Counts(*data["totals"])
    return Evidence(
        cumulative=_to_cumulative(data["cumulative"]),
        block_ratio=block[:POINTS],
        block_rate=block[POINTS:],
        starts=tuple(None if at is None else _to_cumulative(at) for at in data["starts"]),
        table=_unpacked(data["table"], len(KNOTS)),
        totals=totals,
        usual=data.get("usual", totals.events),  # of a ledger from before it was noted: all were
        by_odds=data["odds"],
    )


def _mean_to_json(found: Mean) -> dict[str, Any]:
    return {
        "sums": [found.sums.s, found.sums.h, found.sums.v],
        "burnt": list(found.burnt),
        "rho": found.rho,
        "starts": [at and [at.s, at.h, at.v] for at in found.starts],
    }


def _mean_from_json(data: Mapping[str, Any]) -> Mean:
    if min(data["rho"], data["sums"][2]) < 0:
        raise ValueError(f"rho {data['rho']} and v {data['sums'][2]} must be at least 0")
    return Mean(
        sums=Sums(*data["sums"]),
        burnt=Moments(*data["burnt"]),
        rho=data["rho"],
        starts=tuple(None if at is None else Sums(*at) for at in data["starts"]),
    )


def _cumulative(found: Cumulative) -> str:
    return _packed((*found.harm, *found.better_ratio, *found.better_rate))


def _to_cumulative(text: str) -> Cumulative:
    values = _unpacked(text, 3 * POINTS)
    return Cumulative(*(values[place : place + POINTS] for place in range(0, 3 * POINTS, POINTS)))


def _pairs(counted: Counted) -> dict[str, list[float]]:
    return {name: list(pair) for name, pair in sorted(counted.items())}


def _packed(values: Grid) -> str:
    if not any(values):
        return ""  # nothing was counted: most starts, most of the time
    return base64.b64encode(struct.pack(f"<{len(values)}d", *values)).decode()


def _unpacked(text: str, count: int) -> Grid:
    if not text:
        return (0.0,) * count
    try:
        values = struct.unpack(f"<{count}d", base64.b64decode(text, validate=True))
    except (struct.error, binascii.Error) as error:
        raise ValueError(f"no grid of {count} numbers: {error}") from error
    if any(map(math.isnan, values)):
        raise ValueError(f"no grid of {count} numbers: not all of them are")
    return values
