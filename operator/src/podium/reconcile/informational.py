"""Conditions for information, beside those of the table in conditions.py: one function each. Pure.

None of them changes phase or Ready. One that has nothing to say is absent.
"""

from collections.abc import Callable, Mapping

from podium.api import names
from podium.api.reasons import Reason
from podium.kube.resources import HPAS
from podium.reconcile.fetched import bytes_differ
from podium.reconcile.observed import Observed
from podium.reconcile.outcome import Report
from podium.reconcile.readings import unowned
from podium.reconcile.writes import Told
from podium.rollout.sentences import by_version
from podium.rollout.state import Situation
from podium.rollout.strategies import STRATEGIES
from podium.rollout.words import named, sentences

Said = tuple[str, str, str]
"""Status, reason and message of a condition."""
Conditions = dict[str, Said]
"""By type."""


def informational(observed: Observed, situation: Situation, report: Report) -> Conditions:
    """All that have something to say; `situation`: after the decisions of this pass."""
    asked = {kind: condition(observed, situation) for kind, condition in CONDITIONS.items()}
    found = {kind: said for kind, said in asked.items() if said is not None}
    if contested := [*report.contested, *filter(None, [observed.left_to])]:
        found["DriftContested"] = ("True", Reason.ANOTHER_WRITER, " ".join(contested))
    for where in (Told.PREVIEW, Told.DISRUPTION, Told.SCALING):
        refusal = report.told(where)
        if refusal is not None:
            found[where.value] = ("False", refusal.reason, sentences(refusal.message))
    return found | bytes_differ(situation)


def pod_failure(_: Observed, situation: Situation) -> Said | None:
    """What ails a pod, the candidate's first; else why there is none."""
    revisions = [revision for revision in (situation.candidate, situation.champion) if revision]
    failing = [(r, r.failures[0].reason, r.failures[0].message) for r in revisions if r.failures]
    failing += [(r, Reason.FAILED_CREATE, r.workload.refused) for r in revisions if r.workload and r.workload.refused]
    if not failing:
        return None
    revision, reason, message = failing[0]
    return "True", reason, sentences(f"{named(revision, situation)}: {message}")


def runtime_outdated(_: Observed, situation: Situation) -> Said | None:
    """The spec's own revision serves, but would have another pod template today."""
    champion, proposal = situation.champion, situation.proposal
    if champion is None or champion.inputs != proposal.inputs or not proposal.template_digest:
        return None
    if champion.template_digest == proposal.template_digest:
        return None
    message = sentences(
        f"ModelRuntime {champion.runtime} or Podium's pod template has changed since {named(champion, situation)} was "
        "rolled out",
        f"to adopt the change: {situation.how_to('restart', champion)}",
    )
    return "True", Reason.RUNTIME_CHANGED, message


def record_unreadable(observed: Observed, situation: Situation) -> Said | None:
    """ControllerRevisions that cannot be read, or whose annotations cannot."""
    unreadable = [sentence for revision in situation.revisions for sentence in revision.unreadable]
    unreadable += observed.aside.sentences
    return ("True", Reason.RECORD_UNREADABLE, " ".join(unreadable)) if unreadable else None


def record_missing(observed: Observed, _: Situation) -> Said | None:
    """A Deployment that was restored without its ControllerRevision."""
    restored = unowned(observed.children.values(), observed.owner)
    if not restored:
        return None
    message = sentences(
        f"Deployment {restored[0]} has no owner, and there is no ControllerRevision of its name: it is kept until that "
        "is restored, which may decide who is champion",
        f"if it is lost for good: kubectl delete deployment {restored[0]} -n {observed.owner.namespace}",
    )
    return "True", Reason.RECORD_MISSING, message


def router_unreachable(observed: Observed, _: Situation) -> Said | None:
    """Requests do not go through the routers, or what these do is not known."""
    said = observed.unreachable
    return ("True", Reason.ROUTER_UNREACHABLE, sentences(said)) if said else None


def metrics_unreachable(_: Observed, situation: Situation) -> Said | None:
    """Who counts requests has not been read for a while."""
    found, candidate = situation.findings, situation.candidate
    if found is None or not found.unreachable:
        return None
    who = "pods" if candidate is not None and candidate.record.asked.watched else "routers"
    message = sentences(
        f"{who} cannot be read: {found.unreachable}", "docs/traffic.md has the NetworkPolicy that lets Podium in"
    )
    return "True", Reason.METRICS_UNREACHABLE, message


def no_traffic(_: Observed, situation: Situation) -> Said | None:
    """Requests that were to be expected have not come."""
    found = situation.findings
    if found is None or not found.silent:
        return None
    return "True", Reason.NO_TRAFFIC, sentences(by_version(found.silent, situation))


def ledger_changed(_: Observed, situation: Situation) -> Said | None:
    """Somebody edited the evidence."""
    found, candidate = situation.findings, situation.candidate
    if candidate is None or found is None or not found.changed:
        return None
    place = f"ConfigMap {names.ledger_name(candidate.name)}"
    message = sentences(
        f"the ledger in {place} was set aside: {found.changed}", "evidence starts again from the beginning"
    )
    return "True", Reason.LEDGER_CHANGED, message


def not_measured(_: Observed, situation: Situation) -> Said | None:
    """Errors cannot stop the candidate although they are to be weighed at the pods."""
    champion, candidate = situation.champion, situation.candidate
    if champion is None or candidate is None or not candidate.record.asked.watched:
        return None
    unmeasured = next((revision for revision in (candidate, champion) if revision.counting is None), None)
    if unmeasured is None:
        return None
    message = sentences(
        f"errors of {named(candidate, situation)} are not weighed: ModelRuntime {unmeasured.runtime} had no metrics "
        f"when {named(unmeasured, situation)} was rolled out",
        f"once it has them and the rollout is over: {situation.how_to('restart', champion)}",
    )
    return "True", Reason.NOT_MEASURED, message


def weight_possible(_: Observed, situation: Situation) -> Said | None:
    """False where the pods cannot give the candidate the weight of its step."""
    champion, candidate = situation.champion, situation.candidate
    if candidate is None or champion is None or candidate.record.strategy not in STRATEGIES:
        return None
    excess = STRATEGIES[candidate.record.strategy].excess(situation, champion, candidate)
    return ("False", Reason.WEIGHT_NOT_POSSIBLE, sentences(excess)) if excess else None


def scaling_active(observed: Observed, _: Situation) -> Said | None:
    """False where an HPA cannot scale."""
    told = [
        (name, condition)
        for (resource, name), hpa in observed.children.items()
        if resource is HPAS
        for condition in (hpa.get("status") or {}).get("conditions") or []
        if condition["type"] == "ScalingActive" and condition["status"] == "False"
    ]
    # ScalingDisabled says only that somebody scaled it to zero.
    inactive = [(name, condition) for name, condition in told if condition.get("reason") != "ScalingDisabled"]
    if not inactive:
        return None
    name, condition = inactive[-1]
    why = condition.get("message") or condition.get("reason", "")
    message = f"HorizontalPodAutoscaler {name} does not scale: {why}."
    return "False", condition.get("reason", "Inactive"), message


CONDITIONS: Mapping[str, Callable[[Observed, Situation], Said | None]] = {
    "PodFailure": pod_failure,
    "RuntimeOutdated": runtime_outdated,
    "RecordUnreadable": record_unreadable,
    "RecordMissing": record_missing,
    names.ROUTER_UNREACHABLE: router_unreachable,
    "MetricsUnreachable": metrics_unreachable,
    "NoTraffic": no_traffic,
    "LedgerChanged": ledger_changed,
    "NotMeasured": not_measured,
    "WeightPossible": weight_possible,
    "ScalingActive": scaling_active,
}
"""By type; beside them what was refused or is contested in this pass."""
