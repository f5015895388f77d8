"""What status says of the evidence on a candidate: figures of the last checkpoint, as text where they are fractions.

Pure.
"""

import math
from typing import Any

from podium.analysis.decision import Decision, told
from podium.analysis.plan import Metric
from podium.analysis.report import Report
from podium.api.status import EvidenceStatus
from podium.rollout.measuring import Findings


def metrics_told(found: Findings | None) -> list[dict[str, Any]]:
    """`status.rollout.metrics`: an entry for each metric; none before evidence is counted."""
    if found is None or found.published is None:
        return []
    snapshot = found.published
    pairs = zip(snapshot.ledger.plan.metrics, snapshot.reports, strict=True)
    approximate = snapshot.ledger.plan.approximate
    return [_entry(metric, report, snapshot.decision, approximate=approximate) for metric, report in pairs]


def _entry(metric: Metric, report: Report, decision: Decision, *, approximate: bool) -> dict[str, Any]:
    counted = report.counted
    entry: dict[str, Any] = {
        "name": report.name,
        "type": metric.kind.value,
        "role": metric.role.value,
        "champion": {"n": round(counted.champion_units), "events": round(counted.champion_events)},
        "candidate": {"n": round(counted.candidate_units), "events": round(counted.candidate_events)},
    }
    if metric.edge is not None:
        entry["threshold"] = f"{metric.edge:.3g}s"
    if report.ratio is not None and math.isfinite(report.ratio):
        entry["ratio"] = _short(report.ratio)
        entry["interval"] = [_short(bound) for bound in report.interval]
    if report.harm is not None and report.better is not None:
        strength = EvidenceStatus(harm=told(report.harm), no_harm=told(report.better), needed=told(decision.needed))
        if approximate:
            needed = f"{told(decision.needed_for_harm)} (approximate)"
            strength = EvidenceStatus(harm=told(report.harm), needed=needed)
        entry["evidence"] = strength.wire()
    return entry


def _short(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) and value < 1000 else "above 1000"
