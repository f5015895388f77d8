"""A ledger replayed offline: evidence over time, each metric, and the decision. Pure, once the ledger's text is there.

JSON of `analyze -o json`:
{"startedAt", "until", "intervals", "dropped", "approximate", "needed", "neededForHarm", "harm",
 "history": [{"at", "harm", "better": {METRIC: NUMBER}}],
 "metrics": [{"name", "type", "role", "weighed", "champion": {n, events}, "candidate": {n, events}, "ratio",
              "interval": [low, high], "harm", "better"}],
 "decision": {"call", "rule", "message"}, "decisionOnceStepsAreOver": the same,
 "asRecorded": true|false|null, "comparison": TEXT}

The last two are of a ModelDeployment's ledger: whether its digest is the one in the revision's record or, before a
decision, the one written with it, and if it is not, what that means; null where that is not known, as of a file.

Times are seconds since 1970. `needed`, `neededForHarm`, `harm` and `better` are natural logarithms of evidence, which
may be beyond what a number holds. Counts are those that are weighed.
"""

import json
from collections.abc import Sequence
from typing import Any

import yaml
from rich.table import Table

from podium.analysis import ledger as ledgers
from podium.analysis.decision import Circumstances, Decision, told
from podium.analysis.ledger import Ledger, LedgerOfAnotherVersion, LedgerUnreadable, Row
from podium.analysis.report import Report, reports
from podium.cli.bars import count
from podium.cli.errors import CliError
from podium.cli.shape import plain

KEY = "ledger"
"""Of the ConfigMap."""
MOST_ROWS = 20
"""Of the table of evidence over time; -o json has all."""


def text_in(content: str, source: str, way_out: str = "") -> str:
    """The ledger's text in a file: the text itself, or a ConfigMap as YAML or JSON.

    Raises CliError, which ends with `way_out`: how to get the file again.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        try:
            data = yaml.safe_load(content)
        except (yaml.YAMLError, RecursionError) as error:
            raise _none(source, way_out) from error
    if isinstance(data, dict) and "kind" in data:
        return text_of(data, source, way_out)
    return content


def text_of(obj: Any, source: str, way_out: str = "") -> str:
    """The ledger's text in a ConfigMap. Raises CliError, which ends with `way_out`."""
    data = obj.get("data") if obj.get("kind", "ConfigMap") == "ConfigMap" else None
    if not isinstance(data, dict) or not isinstance(data.get(KEY), str):
        told = f"{source} is no ConfigMap with a ledger: it has no key data.{KEY}"
        raise CliError("; ".join(filter(None, (told, way_out))))
    return str(data[KEY])


class Replay:
    """All that a ledger says."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.plan = ledger, ledger.plan
        self.state = ledgers.replay(ledger)
        self.rows: Sequence[Row] = tuple(ledgers.history(ledger))
        self.decision = ledgers.decided(ledger, Circumstances())
        self.after_steps = ledgers.decided(ledger, Circumstances(steps_over=True))
        self.reports: Sequence[Report] = reports(ledger.plan, self.state, self.decision)

    def to_json(self) -> dict[str, Any]:
        """As the module says."""
        weighed = [metric.name for metric in self.plan.weighed]
        found: dict[str, Any] = plain(
            {
                "startedAt": self.plan.started_at,
                "until": self.state.until,
                "intervals": self.state.intervals,
                "dropped": self.state.dropped,
                "approximate": self.plan.approximate,
                "needed": self.decision.needed,
                "neededForHarm": self.decision.needed_for_harm,
                "harm": self.decision.harm,
                "history": [
                    {"at": row.at, "harm": row.harm, "better": dict(zip(weighed, row.better, strict=True))}
                    for row in self.rows
                ],
                "metrics": [self._metric(report) for report in self.reports],
                "decision": _decided(self.decision),
                "decisionOnceStepsAreOver": _decided(self.after_steps),
            }
        )
        return found

    def _metric(self, report: Report) -> dict[str, Any]:
        metric = next(metric for metric in self.plan.metrics if metric.name == report.name)
        seen = report.weighed
        return {
            "name": report.name,
            "type": str(metric.kind),
            "role": str(metric.role),
            "weighed": metric.weighed,
            "champion": {"n": seen.champion_units, "events": seen.champion_events},
            "candidate": {"n": seen.candidate_units, "events": seen.candidate_events},
            "ratio": report.ratio,
            "interval": report.interval,
            "harm": report.harm,
            "better": report.better,
        }

    def over_time(self) -> Table:
        """Evidence over time, at most MOST_ROWS rows, the last one always among them."""
        table = _table("after", f"harm (of {told(self.decision.needed_for_harm)})")
        for metric in self.plan.weighed:
            table.add_column(metric.name, justify="right", overflow="fold")
        for row in thinned(self.rows):
            after = f"{row.at - self.plan.started_at:.0f} s"
            table.add_row(after, told(row.harm), *(told(better) for better in row.better))
        return table

    def by_metric(self) -> Table:
        """What was weighed of each metric, and how strong the evidence is."""
        table = _table("metric", "champion", "candidate", "ratio", "interval", "harm", "for promotion")
        for one in self.reports:
            seen, (low, high) = one.weighed, one.interval
            table.add_row(
                one.name,
                f"{count(seen.champion_events)} of {count(seen.champion_units)}",
                f"{count(seen.candidate_events)} of {count(seen.candidate_units)}",
                "-" if one.ratio is None else f"{one.ratio:.2f}",
                f"{low:.2f} to {high:.2f}",
                "-" if one.harm is None else told(one.harm),
                "-" if one.better is None else told(one.better),
            )
        return table

    def lines(self) -> list[str]:
        """The decision, in sentences."""
        needed = told(self.decision.needed)
        found = [f"Decision: {_sentence(self.decision)}"]
        if self.after_steps != self.decision:
            found.append(f"Once its steps are over: {_sentence(self.after_steps)}")
        found.append(
            f"{self.state.intervals} intervals, {self.state.dropped} of them not weighed; promotion needs evidence of "
            f"{needed} in each metric, a rollback {told(self.decision.needed_for_harm)} in their weighted sum."
        )
        if self.plan.approximate:
            found.append("Approximate: without a router harm alone is judged, and steps alone promote.")
        return found


def replayed(text: str, source: str, way_out: str = "") -> Replay:
    """Read and replay a ledger. Raises CliError for what is none, or of another version; see `text_in`."""
    try:
        return Replay(ledgers.read(text))
    except LedgerOfAnotherVersion as error:
        raise CliError(f"{source}: {error}") from error
    except LedgerUnreadable as error:
        raise _none(source, way_out) from error
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        raise CliError(f"{source}: nothing can be decided from it: {error}") from error


def _none(source: str, way_out: str) -> CliError:
    """Without what a parser says: it names a place in a text that nobody wrote by hand."""
    return CliError(": ".join(filter(None, (f"{source} is no ledger, or is cut off", way_out))))


def thinned(rows: Sequence[Row]) -> list[Row]:
    """Evenly chosen rows, the last one among them."""
    step = -(-len(rows) // MOST_ROWS) or 1
    return list(rows[::-1][::step][::-1])


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    return table


def _decided(decision: Decision) -> dict[str, str]:
    return {"call": str(decision.call), "rule": decision.rule, "message": decision.message}


def _sentence(decision: Decision) -> str:
    rule = f" ({decision.rule})" if decision.rule else ""
    return f"{decision.call}{rule}: {decision.message}"
