"""Composes status from the plan and what came of it. Pure: the loop writes it, once per pass."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from podium.api import names
from podium.api.reasons import Reason
from podium.kube.client import Object
from podium.kube.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, DEPLOYMENTS, SERVICES, Resource
from podium.manifests.owner import Owner
from podium.manifests.routing import read_routing, told_in
from podium.reconcile.availability import as_counted, availability
from podium.reconcile.conditions import Facts, Summary, judge
from podium.reconcile.evidence import metrics_told
from podium.reconcile.fetched import model_digest_of
from podium.reconcile.informational import Conditions, informational
from podium.reconcile.observed import PENDING, Observed
from podium.reconcile.outcome import Report
from podium.reconcile.plan import Plan, command_of
from podium.reconcile.routers.reading import is_routed
from podium.reconcile.weights import applied, shares
from podium.reconcile.writes import Remove, Told
from podium.rollout.moment import Moment
from podium.rollout.revision import RevisionState
from podium.rollout.sizing import once_written
from podium.rollout.state import Situation
from podium.rollout.strategies import STRATEGIES, Move
from podium.rollout.traffic import Split
from podium.rollout.wire import format_time
from podium.rollout.words import named, sentences

HISTORY = 20
"""Entries of status.history, the newest first."""
MESSAGE_LENGTH = 4096
"""Characters of a message: an admission webhook's sentence may be of any length."""


def unplanned(
    obj: Object,
    reason: Reason,
    message: str,
    controller: str,
    now: datetime,
    children: Mapping[tuple[Resource, str], Object] | None = None,
) -> Object:
    """The status as it was, saying why nothing could be planned, and whether what runs still serves."""
    generation = int(obj["metadata"].get("generation", 0))
    status = dict(obj.get("status") or {})
    before = status.get("conditions") or []
    kept = {c["type"]: (c["status"], c["reason"], c["message"]) for c in before}
    deployments = {name: child for (kind, name), child in (children or {}).items() if kind == DEPLOYMENTS}
    counted = as_counted(status, deployments)
    if counted is not None:
        kept["Available"] = counted
    lost = counted[2] if counted is not None and counted[0] == "False" else ""
    message = sentences(lost, message)
    kept |= {"Ready": ("False", reason, message), "Stalled": ("True", reason, message)}
    kept.pop("Reconciling", None)
    status["observedGeneration"] = generation
    status["controller"] = controller
    status["message"] = message[:MESSAGE_LENGTH]
    status["conditions"] = _conditions(kept, before, generation, now)
    return status


def compose(observed: Observed, plan: Plan, report: Report, controller: str, moment: Moment) -> Object:
    """The whole status of a ModelDeployment whose spec could be read."""
    now = moment.now
    stands = {n: t for n, t in plan.move.targets.items() if not report.kept_back(frozenset({(DEPLOYMENTS, n)}))}
    situation = once_written(plan.situation, replace(plan.move, targets=stands))
    split = _split_as_it_is(observed, plan.move, report)
    facts = Facts(situation, plan.move, split, plan.hold, report.told(Told.READY), moment)
    summary = judge(facts)
    conditions = _kstatus(summary, facts) | informational(observed, situation, report)
    owner = observed.owner
    message = _with_leftovers(summary.message, report)
    status: Object = {
        "observedGeneration": observed.generation,
        "phase": summary.phase,
        "message": message[:MESSAGE_LENGTH],
        "url": f"http://{owner.name}.{owner.namespace}.svc",
        **_scale(facts, owner),
        "controller": controller,
        "conditions": _conditions(conditions, observed.status.get("conditions") or [], observed.generation, now),
    }
    champion, candidate = situation.champion, situation.candidate
    if champion is not None:
        status["runtime"] = champion.runtime
        status["champion"] = _revision(champion, plan, champion.decided_at) | model_digest_of(champion)
    if candidate is not None:
        status.setdefault("runtime", candidate.runtime)
        status["candidate"] = _revision(candidate, plan, candidate.record.started_at) | model_digest_of(candidate)
    if champion is not None and candidate is not None:
        given = shares(situation, split)
        for role, revision in (("champion", champion), ("candidate", candidate)):
            status[role]["weight"] = given.get(revision.name, 0)
    warm, until = situation.warm, situation.warm_until
    if warm is not None and until is not None and warm.name in plan.move.targets:
        status["previous"] = {"revision": warm.name, "version": warm.version, "until": format_time(until)}
    rollout = _rollout(situation, split)
    if rollout:
        status["rollout"] = rollout
    history = _history(situation, forgotten=_deleted_records(plan, report))
    if history:
        status["history"] = history
    last = _last_command(observed, plan, report, now)
    if last:
        status["lastCommand"] = last
    return status


def _split_as_it_is(observed: Observed, move: Move, report: Report) -> Split:
    """Where requests go: as planned or, while that cannot be written, as the live Service and ConfigMap have it."""
    stable, told = (SERVICES, observed.owner.name), (CONFIG_MAPS, names.routing_name(observed.owner.name))
    live = observed.child(*stable)
    if is_routed(live):
        known = read_routing(told_in(observed.child(*told))) if told in report.refusals else None
        return move.split if known is None else Split({s.revision: s.weight for s in known.split if s.weight})
    if stable not in report.refusals:
        return move.split
    if live is None:
        return Split()
    revision = (live["spec"].get("selector") or {}).get(names.LABEL_REVISION)
    return Split.to(revision) if revision else Split.by_pods(dict.fromkeys(move.targets, 1))


def _scale(facts: Facts, owner: Owner) -> Object:
    """What the scale subresource reads: the pods behind the stable Service, and they alone.

    An autoscaler of the user's that divides a metric by pods would take a candidate without traffic for idle ones.
    """
    selector = f"{names.LABEL_MODEL}={owner.name}"
    if facts.split.sole is not None:
        selector += f",{names.LABEL_REVISION}={facts.split.sole}"
    replicas = sum(r.workload.pods for r in facts.situation.revisions if r.workload and r.name in facts.serving)
    return {"replicas": replicas, "selector": selector}


def _with_leftovers(message: str, report: Report) -> str:
    """The message, and what could not be deleted or recorded though nothing waits for it."""
    for where, what in (
        (Told.MESSAGE, "what is no longer needed is not deleted"),
        (Told.RECORD, "what was decided is not recorded"),
    ):
        left = report.told(where)
        message += f" {sentences(f'{what} yet: {left.message}')}" if left else ""
    return message


def _kstatus(summary: Summary, facts: Facts) -> Conditions:
    situation, said = facts.situation, (summary.reason, summary.message)
    conditions: Conditions = {
        "Available": (_word(summary.available), *availability(facts, summary)),
        "Ready": (_word(summary.ready), *said),
    }
    if summary.reconciling:
        conditions["Reconciling"] = ("True", *said)
    if summary.stalled:
        conditions["Stalled"] = ("True", *said)
    if situation.spec.suspend:
        conditions["Suspended"] = (
            "True",
            Reason.SUSPENDED,
            "spec.suspend is true. To bring the model back: set spec.suspend to false.",
        )
    if situation.paused or summary.phase == "Paused":
        if situation.spec.paused:
            conditions["Paused"] = (
                "True",
                Reason.SPEC_PAUSED,
                "spec.paused is true. To go on: set spec.paused to false.",
            )
        elif situation.paused_by:
            conditions["Paused"] = ("True", Reason.PAUSED_BY_COMMAND, _way_on(situation, situation.paused_by))
        else:
            conditions["Paused"] = ("True", summary.reason, summary.message)
    return conditions


def _way_on(situation: Situation, paused: RevisionState) -> str:
    return sentences(f"a person paused {named(paused, situation)}", f"to go on: {situation.how_to('resume', paused)}")


def _conditions(
    wanted: Conditions, before: list[dict[str, Any]], generation: int, now: datetime
) -> list[dict[str, Any]]:
    known = {c["type"]: c for c in before}
    found = []
    for kind, (status, reason, message) in sorted(wanted.items()):
        old = known.get(kind)
        since = old["lastTransitionTime"] if old and old["status"] == status else now.strftime("%Y-%m-%dT%H:%M:%SZ")
        found.append(
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message[:MESSAGE_LENGTH],
                "lastTransitionTime": since,
                "observedGeneration": generation,
            }
        )
    return found


def _revision(revision: RevisionState, plan: Plan, since: datetime | None) -> dict[str, Any]:
    target = plan.move.targets.get(revision.name)
    desired = target.replicas if target else revision.replicas
    found: dict[str, Any] = {
        "revision": revision.name,
        "version": revision.version,
        "desired": desired,
        "ready": revision.ready,
        "available": revision.reported,
    }
    if since is not None:
        found["since"] = format_time(since)
    return found


def _has_all(situation: Situation, candidate: RevisionState) -> bool:
    """Whether nobody counts its deadline, since its pods are there."""
    champion, strategy = situation.champion, STRATEGIES.get(candidate.record.strategy)
    if champion is None:
        return candidate.reported >= situation.size
    # That of a record which cannot be read, or is another version's, is not known.
    return strategy is not None and candidate.reported >= strategy.needed(situation, champion, candidate)


def _rollout(situation: Situation, split: Split) -> dict[str, Any]:
    decided = [r for r in situation.revisions if r.decided_at and r.record.id]
    latest = situation.candidate or max(decided, key=lambda r: (r.number, r.decided_at), default=None)
    if latest is None:
        return {}
    record = latest.record
    found: dict[str, Any] = {"id": record.id, "strategy": record.strategy, "startedAt": format_time(record.started_at)}
    if latest is situation.candidate:
        found |= _steps(situation, split, latest)
    # Once it is decided nothing is measured any more: the next pass knows no figures either.
    metrics = metrics_told(situation.findings) if latest is situation.candidate and record.asked else []
    if metrics:
        found["metrics"] = metrics
    if latest is situation.candidate and situation.deadline is not None and not _has_all(situation, latest):
        found["deadline"] = format_time(situation.deadline)
    elif latest.decided_at is not None and latest.ended is not None:
        found["decision"] = {
            "verdict": latest.ended.value,
            "rule": latest.rule,
            "at": format_time(latest.decided_at),
            "by": latest.decided_by.by,
        }
    return found


def _steps(situation: Situation, split: Split, candidate: RevisionState) -> dict[str, Any]:
    """Of a rollout by steps beside a champion."""
    record = candidate.record
    if not record.steps or situation.champion is None:
        return {}
    found: dict[str, Any] = {"desired": record.weight}
    has = applied(situation, split, candidate)
    if has is not None:
        found["applied"] = has
    keepers = situation.traffic.keepers(split)
    if keepers is not None:
        found["confirmed"], found["routers"] = keepers
    step = min(record.step + 1, len(record.steps))
    return {"step": step, "steps": len(record.steps), "weight": found}


def _deleted_records(plan: Plan, report: Report) -> set[str]:
    """Revisions beyond the history limit whose records went with this pass: no record tells of them any more."""
    removals = [w for w in plan.writes if w.resource is CONTROLLER_REVISIONS and isinstance(w.action, Remove)]
    return {write.name for write in removals if not report.kept_back(frozenset({write.place}))}


def _history(situation: Situation, forgotten: set[str]) -> list[dict[str, Any]]:
    known = [r for r in situation.revisions if r.name not in forgotten]
    decided = [(r.decided_at, r) for r in known if r.decided_at and r.outcome]
    decided.sort(key=lambda pair: (pair[0], pair[1].number), reverse=True)
    return [
        {
            "revision": r.name,
            "version": r.version,
            "outcome": r.ended.value if r.ended else "",
            "rule": r.rule,
            "at": format_time(at),
        }
        for at, r in decided[:HISTORY]
    ]


def _last_command(observed: Observed, plan: Plan, report: Report, now: datetime) -> dict[str, Any]:
    pending = _pending_command(observed, plan, report, now)
    if pending:
        return pending
    if plan.declined is not None:
        return {
            "value": plan.declined.command,
            "at": format_time(plan.declined.at),
            "result": "Refused",
            "message": plan.declined.message,
        }
    before: dict[str, Any] = observed.status.get("lastCommand") or {}
    if before.get("result") == PENDING:
        before = {}  # withdrawn before it could be recorded, or recorded by now
    command = command_of(plan.situation)
    if command is None:
        return before
    said, at = before.get("at", ""), format_time(command.at)
    # Of two within one moment of the clock, the later is the one that still stands in the annotation.
    if said > at or (said == at and command.value != plan.situation.command):
        return before
    return {
        "value": command.value,
        "at": at,
        "result": command.result.value,
        "message": command.message,
    }


def _pending_command(observed: Observed, plan: Plan, report: Report, now: datetime) -> dict[str, Any]:
    """A command that was taken but whose record was refused: neither done nor refused, and tried again."""
    value = plan.situation.command
    taken = any(entry.answers(value) for entry in report.unwritten)
    if not taken or any(r.command and r.command.value == value for r in plan.situation.revisions):
        return {}
    before: dict[str, Any] = observed.status.get("lastCommand") or {}
    at = before["at"] if before.get("value") == value and "at" in before else format_time(now)
    why = "; ".join(r.message for (resource, _), r in report.refusals.items() if resource is CONTROLLER_REVISIONS)
    return {"value": value, "at": at, "result": PENDING, "message": f"not recorded yet: {why}"[:MESSAGE_LENGTH]}


def _word(value: bool) -> str:
    return "True" if value else "False"
