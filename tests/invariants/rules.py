"""The rules, each with the sentence that it stands for."""

from collections.abc import Iterator, Mapping
from math import floor
from typing import Final

from podium.api import names
from podium.api.v1alpha1 import InvalidSpec, ModelDeploymentSpec
from podium.manifests.revision import inputs_digest
from podium.rollout.record import Outcome
from tests.invariants import reading
from tests.invariants.history import MODEL_DEPLOYMENT, Blame, Change, Object, Rule, State

PERSON: Final = "person"
PROMOTING: Final = frozenset(
    {
        PERSON,
        "champion-down",
        "no-replicas",
        "first",
        "rolling-complete",
        "blue-green-available",
        "steps-complete",
        "evidence",
        "max-duration",
    }
)
"""All that may promote, of what this version can do."""


def one_candidate(change: Change) -> Iterator[str]:
    """Judged at each write of a record."""
    if change.version.kind == "ControllerRevision":
        open_ones = sorted(one["metadata"]["name"] for one in reading.records(change.now) if not reading.outcome(one))
        if len(open_ones) > 1:
            yield f"{', '.join(open_ones)} have no outcome"


def a_champion_stays(change: Change) -> Iterator[str]:
    """Judged at each write and deletion of a record."""
    if change.version.kind != "ControllerRevision" or change.now.model is None:
        return
    if reading.promoted(change.was) and not reading.promoted(change.now):
        yield f"{change.version.name} was the last that is Promoted"


def the_champion_keeps_its_objects(change: Change) -> Iterator[str]:
    """Its record and its Deployment are never deleted."""
    champion = reading.champion(change.was)
    if not change.version.gone or change.now.model is None or champion is None:
        return
    if change.version.kind in ("ControllerRevision", "Deployment") and change.version.name == _name(champion):
        yield f"{change.version.kind} {change.version.name} was deleted"


def promoted_by_a_rule(change: Change) -> Iterator[str]:
    """Evidence will be one more."""
    version = change.version
    if version.kind == "ControllerRevision" and not version.gone and reading.outcome(version.obj) == Outcome.PROMOTED:
        rule = reading.annotations(version.obj).get(names.ANNOTATION_RULE, "")
        if rule not in PROMOTING:
            yield f"{version.name} was by {rule!r}"


def a_persons_promotion_stands(change: Change) -> Iterator[str]:
    """From the command on, while it still grows, and once it is promoted: neither its pods' failures, nor its deadline,
    nor anything else but a person rolls it back.
    """
    version, before = change.version, change.before
    if version.kind != "ControllerRevision" or version.gone or before is None:
        return
    if reading.outcome(version.obj) != Outcome.ROLLED_BACK or reading.outcome(before) == Outcome.ROLLED_BACK:
        return
    asked_for = reading.rollout(before).get("promoting") == PERSON
    done = reading.outcome(before) == Outcome.PROMOTED and _rule(before) == PERSON
    if (asked_for or done) and _rule(version.obj) != PERSON:
        yield f"{version.name} was rolled back by {_rule(version.obj)!r}"


def decisions_in_order(change: Change) -> Iterator[str]:
    """A new decision is later than every one that stands."""
    version = change.version
    if version.kind != "ControllerRevision" or version.gone:
        return
    at = reading.decided_at(version.obj)
    if at is None or (change.before is not None and reading.decided_at(change.before) == at):
        return
    others = {_name(one): reading.decided_at(one) for one in reading.records(change.was)}
    for name, other in others.items():
        if other is not None and other >= at:
            yield f"{version.name} was decided at {at}, {name} at {other}"


def status_tells_records(change: Change) -> Iterator[str]:
    """What a new status calls champion, candidate, promoted or rolled back is so by the records."""
    status = _new_status(change)
    told = [(status[role]["revision"], mark) for role, mark in _ROLES.items() if role in status]
    told += [(entry["revision"], entry["outcome"]) for entry in status.get("history") or []]
    for name, mark in told:
        record = change.now.get("ControllerRevision", name)
        written = reading.told(record)
        before, at = change.now.told.get(name, ("", float("-inf")))
        if (record is not None and written == mark) or not reading.is_legible(written):
            continue
        if change.late and before == mark and change.version.at - at <= change.late:
            continue  # Podium may not have seen the last change of it
        yield f"it says {mark or 'candidate'} of {name}, whose record " + (
            f"says {written or 'nothing'}" if record is not None else "is not there"
        )


BY_SHARES: Final = frozenset({"RollingUpdate", "Canary"})
"""Strategies by which pods of both revisions stand behind the stable Service, for each other."""
_ROLES: Final = {"champion": "Promoted", "candidate": ""}


def a_command_done_is_recorded(change: Change) -> Iterator[str]:
    """A refused command may be recorded by status alone; what has an effect, never."""
    last = _new_status(change).get("lastCommand") or {}
    if last.get("result") in ("Done", "Accepted") and (last["value"], last["result"]) not in change.now.commands:
        yield f"it says {last['result']} of {last['value']!r}"


def ready_is_true(change: Change) -> Iterator[str]:
    """Of the present generation, and of what spec asks for."""
    status, obj = _new_status(change), change.version.obj
    ready = reading.condition({"status": status}, "Ready")
    if ready.get("status") != "True":
        return
    generation = obj["metadata"]["generation"]
    if not status.get("observedGeneration") == ready.get("observedGeneration") == generation:
        yield f"it speaks of generation {status.get('observedGeneration')}, spec is at {generation}"
    if obj["spec"].get("suspend"):
        return  # it has what was asked for: nothing
    champion = reading.champion(change.now)
    if champion is None:
        yield "there is no champion"
        return
    if (status.get("champion") or {}).get("revision") != _name(champion):
        yield f"it names {status.get('champion')}, the champion is {_name(champion)}"
    try:
        inputs = inputs_digest(ModelDeploymentSpec.parse(obj["spec"]).inputs())
    except InvalidSpec as error:
        yield f"spec is invalid: {error}"
        return
    if inputs != inputs_digest(champion["data"]["inputs"]):
        yield f"the champion {_name(champion)} is not what spec asks for"


def ready_has_an_endpoint(change: Change) -> Iterator[str]:
    """Replicas 0 aside."""
    ready = reading.condition({"status": _new_status(change)}, "Ready")
    if ready.get("status") != "True" or reading.wanted(change.version.obj) == 0:
        return
    allowed = max(change.late, change.slack)
    if change.now.served_until < change.version.at - allowed:
        yield f"the stable Service had none in the {allowed:g} s before"


def served_throughout(change: Change) -> Iterator[str]:
    """From the first Ready=True on."""
    if change.version.kind != "EndpointSlice" or not change.was.expected or change.now.model is None:
        return
    if reading.has_endpoint(change.was) and not reading.has_endpoint(change.now):
        yield "it has no ready endpoint left"


def two_revisions_have_pods(change: Change) -> Iterator[str]:
    """With the champion down nothing is waited for, and what that left behind may still be terminating."""
    if change.now.model is None:
        return
    found = reading.crowd(change.now)
    if found and not change.was.excused and not reading.is_down(change.now):
        yield f"{', '.join(sorted(found))} have some"


def a_rollout_by_shares_keeps_its_floor(change: Change) -> Iterator[str]:
    """No write takes available pods below min(T - U, what it was before the write)."""
    if change.version.kind not in ("Deployment", "Service", "ConfigMap") or change.now.model is None:
        return
    least = _floor(change.was)
    if least is None:
        return
    # An edit of minReadySeconds changes what counts as available, and takes nothing away.
    seconds = {_name(one): one["spec"].get("minReadySeconds", 0) for one in change.was.of("Deployment")}
    before, after = (_serving(state, seconds, change) for state in (change.was, change.now))
    if after < min(least, before):
        yield f"{change.version.kind} {change.version.name} takes them from {before} to {after}, the floor is {least}"


def a_service_selects_somebody(change: Change) -> Iterator[str]:
    """A write never turns the stable Service from ready pods to none."""
    if change.version.kind != "Service" or change.now.model is None or reading.wanted(change.now.model) == 0:
        return
    if change.version.name != _name(change.now.model):
        return  # the candidate's pods, and those that a router is to know, may come and go
    if reading.is_routed(change.version.obj) and not any(map(reading.is_router, change.now.of("Pod"))):
        return  # routers are another history's
    ready = [one for one in change.now.of("Pod") if reading.is_ready(one)]
    had = [_name(one) for one in ready if reading.selected(change.before, one)]
    after = None if change.version.gone else change.version.obj
    if had and not any(reading.selected(after, one) for one in ready):
        yield f"{change.version.name} selects none of {len(ready)} ready pods, and had {', '.join(sorted(had))}"


def traffic_leaves_first(change: Change) -> Iterator[str]:
    """Who takes over is listed behind the stable Service before a Deployment that it lists gives all of its pods up."""
    version = change.version
    if not _gives_all_up(change):
        return
    service, listed = reading.stable(change.now), reading.listed(change.now)
    own = {_name(one) for one in reading.pods(change.now, version.name) if reading.is_ready(one)}
    ready = [one for one in change.now.of("Pod") if reading.is_ready(one) and _name(one) in listed - own]
    if listed & own and not any(reading.selected(service, one) for one in ready):
        yield f"{version.name} gives up {', '.join(sorted(listed & own))}, and nobody else is listed yet"


def weights_leave_first(change: Change) -> Iterator[str]:
    """The routers are told to send a revision no requests before its Deployment gives all of its pods up."""
    version, service = change.version, reading.stable(change.now)
    if service is None or not reading.is_routed(service) or not _gives_all_up(change):
        return
    asked = [_name(one) for one in reading.pods(change.now, version.name) if reading.is_ready(one)
             if reading.asked(change.now, service, one)]  # fmt: skip
    if asked:
        yield f"{version.name} gives up {', '.join(sorted(asked))}, to which the routers are told to send requests"


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _rule(record: Object) -> str:
    return reading.annotations(record).get(names.ANNOTATION_RULE, "")


def _new_status(change: Change) -> Object:
    """The status that this version brought; empty where it brought none."""
    version = change.version
    if version.kind != MODEL_DEPLOYMENT or change.now.model is None:
        return {}
    status: Object = version.obj.get("status") or {}
    return {} if status == ((change.before or {}).get("status") or {}) else status


def _gives_all_up(change: Change) -> bool:
    """Whether a Deployment is to have no pods any more, while the model is to serve and may not leave none."""
    version = change.version
    if version.kind != "Deployment" or change.now.model is None or reading.wanted(change.now.model) == 0:
        return False
    size = 0 if version.gone or reading.is_leaving(version.obj) else version.obj["spec"]["replicas"]
    if change.before is None or size > 0 or change.before["spec"].get("replicas", 1) == 0:
        return False
    return not _all_may_go(change.was)


def _all_may_go(state: State) -> bool:
    """Whether the rollout under way may leave no pod: one replica and maxSurge 0, or maxUnavailable 100 %."""
    frozen = [reading.rollout(one) for one in reading.records(state) if not reading.outcome(one)]
    return any(one.get("strategy") in BY_SHARES and one["size"] <= one.get("unavailable", 0) for one in frozen)


def _floor(state: State) -> int | None:
    """T - U of the rollout by shares under way, forwards or backwards; None without one, or when no pods are wanted."""
    model = state.model
    if model is None or reading.champion(state) is None or reading.wanted(model) == 0:
        return None
    autoscaled = bool(model["spec"].get("autoscaling"))
    for record in sorted(reading.records(state), key=lambda one: -int(one["revision"])):
        deployment = state.get("Deployment", _name(record))
        if reading.outcome(record) == Outcome.PROMOTED or deployment is None:
            continue
        frozen = reading.rollout(record)
        if frozen.get("strategy") not in BY_SHARES:
            return None  # another strategy, or somebody took it away, or made it unreadable
        least = int(frozen["size"] - frozen.get("unavailable", 0))
        if frozen["strategy"] == "Canary" and frozen.get("surge"):
            if reading.is_routed(reading.stable(state) or {}):
                return None  # by weights the champion has all that all of the requests need, beside the candidate
            # T follows what spec asks for; under autoscaling what there was at the start is its least.
            least = least if autoscaled else min(least, reading.wanted(model) - frozen.get("unavailable", 0))
        # The last write of a rollback goes on to what spec asks for by then, which may be less than T.
        over = bool(reading.outcome(record)) and not autoscaled
        return min(least, int(model["spec"].get("replicas", 1))) if over else least
    return None


def _serving(state: State, seconds: Mapping[str, float], change: Change) -> int:
    """Available pods behind the stable Service once every Deployment has been brought to its size."""
    service, found = reading.stable(state), 0
    for deployment in state.of("Deployment"):
        if reading.is_leaving(deployment):
            continue
        least = seconds.get(_name(deployment), 0) - change.slack
        # Times of the API are whole seconds, and pods that are not available are the first to be deleted.
        available = sum(
            1
            for one in reading.pods(state, _name(deployment))
            if reading.asked(state, service, one) and reading.is_ready(one)
            if change.version.at - floor(change.was.ready_since.get(one["metadata"]["uid"], change.version.at)) >= least
        )
        found += min(available, int(deployment["spec"].get("replicas", 1)))
    return found


RULES: Final = (
    Rule("at most one candidate", one_candidate),
    Rule("the champion exists once there was one", a_champion_stays),
    Rule("the champion keeps its record and its Deployment", the_champion_keeps_its_objects, Blame.CERTAIN),
    Rule("promoted only by a known rule", promoted_by_a_rule),
    Rule("automation never undoes a promotion that a person asked for", a_persons_promotion_stands),
    Rule("decisions follow each other in time", decisions_in_order),
    Rule("status tells of what the records say", status_tells_records),
    Rule("a command is Done once its record is", a_command_done_is_recorded),
    Rule("Ready=True is true", ready_is_true),
    Rule("Ready=True has a ready endpoint behind it", ready_has_an_endpoint),
    Rule("the stable Service always has a ready endpoint", served_throughout, Blame.CERTAIN),
    Rule("at most two revisions have pods, three while one terminates", two_revisions_have_pods),
    Rule("a RollingUpdate or Canary keeps T - U pods available", a_rollout_by_shares_keeps_its_floor),
    Rule("the stable Service selects somebody", a_service_selects_somebody),
    Rule("traffic leaves before capacity does", traffic_leaves_first, Blame.CERTAIN),
    Rule("weights leave before capacity does", weights_leave_first, Blame.CERTAIN),
)
