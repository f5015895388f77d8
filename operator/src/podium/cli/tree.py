"""A ModelDeployment as a tree of lines. Pure: a view in, nodes out; screen.py draws them."""

from dataclasses import dataclass
from datetime import UTC, datetime

from rich.text import Text

from podium.cli.bars import Glyphs, bar, count, share
from podium.cli.view import Arm, Condition, Evidence, Metric, Revision, Rollout, View

_PHASES = {"Healthy": "green", "RolledBack": "red", "Failed": "red", "Paused": "yellow", "Suspended": "yellow"}


@dataclass(frozen=True)
class Node:
    """A line, and those below it."""

    label: Text
    children: tuple["Node", ...] = ()


def tree(view: View, glyphs: Glyphs, now: datetime) -> Node:
    """Champion, candidate, evidence, routers, what is awaited, and conditions not as they should be."""
    phase = _PHASES.get(view.phase, "cyan")
    title = Text.assemble((view.place, "bold"), "  ", (view.phase, phase))
    lines: list[Node] = []
    if view.deleted:
        lines.append(_line("deleted", "it is being deleted"))
    elif not view.current:
        lines.append(_line("outdated", _behind(view)))
    if view.champion:
        lines.append(_line("champion", _revision(view.champion, _weight(view.champion.weight), now)))
    if view.candidate:
        lines.append(_candidate(view, view.candidate, glyphs, now))
        lines.extend(_routers(view.rollout))
    if view.previous:
        warm = f"{_named(view.previous.revision, view.previous.version)}, kept warm until {view.previous.until}"
        lines.append(_line("previous", warm))
    if view.rollout and view.rollout.decision and not view.candidate:
        lines.append(_line("decision", _decided(view.rollout)))
    lines.append(_line("says" if view.ready == "True" or view.stalled else "awaits", view.message))
    if view.last_command and view.command_awaited:
        lines.append(_line("command", f'"{view.asked or view.last_command.value}" is under way'))
    elif view.last_command and view.last_command.result == "Refused":
        lines.append(_line("command", view.last_command.message))
    lines.extend(_conditions(view))
    return Node(title, tuple(lines))


def _candidate(view: View, candidate: Revision, glyphs: Glyphs, now: datetime) -> Node:
    rollout = view.rollout
    line = _revision(candidate, _candidate_weight(candidate, rollout), now)
    if rollout and rollout.step is not None and rollout.steps is not None:
        line += f", step {rollout.step} of {rollout.steps}"
    metrics = rollout.metrics if rollout else ()
    return Node(_line("candidate", line).label, tuple(_metric(metric, glyphs) for metric in metrics))


def _revision(revision: Revision, weight: str, now: datetime) -> str:
    since = _ago(revision.since, now)
    parts = [_named(revision.revision, revision.version), _pods(revision), weight, f"for {since}" if since else ""]
    return ", ".join(part for part in parts if part)


def _named(revision: str, version: str) -> str:
    return f"version {version} ({revision})" if version else revision


def _pods(revision: Revision) -> str:
    if revision.desired == revision.ready == revision.available:
        return f"{revision.available}/{revision.desired} pods"
    return f"{revision.available}/{revision.desired} pods available ({revision.ready} ready)"


def _weight(percent: int | None) -> str:
    return "" if percent is None else f"{percent} %"


def _candidate_weight(candidate: Revision, rollout: Rollout | None) -> str:
    """Both, where what was asked for is not what is applied."""
    weight = rollout.weight if rollout else None
    if weight is None or weight.desired is None:
        return _weight(candidate.weight)
    if weight.applied is None:
        return f"{weight.desired} % asked, not confirmed yet"
    if weight.applied == weight.desired:
        return _weight(weight.applied)
    return f"{weight.desired} % asked, {weight.applied} % applied"


def _routers(rollout: Rollout | None) -> list[Node]:
    """How many routers there are, and how many have loaded the present weights."""
    weight = rollout.weight if rollout else None
    if weight is None or weight.routers is None or weight.confirmed is None:
        return []
    if not weight.routers:
        return [_line("routers", "no router is ready")]
    return [_line("routers", f"{weight.confirmed} of {weight.routers} have loaded the present weights")]


def _metric(metric: Metric, glyphs: Glyphs) -> Node:
    label = Text.assemble((metric.name, "bold"), f"  {_counted(metric)}")
    if metric.evidence is None:
        return Node(label, (Node(Text("shown, decides nothing")),))
    wanted = "it is better" if metric.role == "Goal" else "no harm"
    harm = _evidence("harm", metric.evidence.harm, metric.evidence, glyphs, "red")
    if not metric.evidence.no_harm:
        return Node(label, (harm,))  # counted at the pods: nothing promotes by it
    return Node(label, (_evidence(wanted, metric.evidence.no_harm, metric.evidence, glyphs, "green"), harm))


def _evidence(what: str, found: str, of: Evidence, glyphs: Glyphs, colour: str) -> Node:
    drawn = bar(share(found, of.needed), glyphs)
    return Node(Text.assemble(f"{what:<12} ", (drawn, colour), f" {found or '?'} of {of.needed or '?'}"))


def _counted(metric: Metric) -> str:
    told = f"{_arm(metric.candidate)} (champion {_arm(metric.champion)})"
    if metric.ratio is None:
        return told
    interval = f" [{metric.interval[0]}, {metric.interval[1]}]" if metric.interval else ""
    return f"{told}, ratio {metric.ratio}{interval}"


def _arm(arm: Arm | None) -> str:
    return f"{count(arm.events)} of {count(arm.n)}" if arm else "nothing"


def _decided(rollout: Rollout) -> str:
    decision = rollout.decision
    if decision is None:
        return ""
    by = f", by {decision.by}" if decision.by and decision.by not in decision.rule else ""
    return f"{decision.verdict} ({decision.rule or 'no rule'}{by}) at {decision.at}"


def _behind(view: View) -> str:
    if not view.observed_generation:
        return "Podium has not seen it yet"
    return f"this is about generation {view.observed_generation}; Podium has not seen {view.generation} yet"


def _conditions(view: View) -> list[Node]:
    """One line for those of the same reason and message; what `awaits` says already is not said again."""
    found: dict[tuple[str, str], list[Condition]] = {}
    for condition in view.conditions:
        found.setdefault((condition.reason, condition.message), []).append(condition)
    lines = []
    for (reason, message), those in found.items():
        which = ", ".join(f"{one.type}={one.status}" for one in those)
        more = f": {message}" if message and message != view.message else ""
        style = "red" if any(one.type == "Stalled" for one in those) else "yellow"
        lines.append(Node(Text.assemble((which, style), f" ({reason}){more}")))
    return lines


def _line(what: str, text: str) -> Node:
    return Node(Text.assemble((f"{what:<9} ", "dim"), text))


def _ago(since: str, now: datetime) -> str:
    """How long ago an RFC 3339 time was: 45s, 4m, 3h, 2d; empty for none."""
    try:
        at = datetime.fromisoformat(since)
    except ValueError:
        return ""
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    seconds = max(int((now - at).total_seconds()), 0)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
