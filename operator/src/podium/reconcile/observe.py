"""Gathers from the cache all that one pass decides from. Reads nothing but the cache."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from podium.api import names
from podium.api.reasons import Reason
from podium.api.v1alpha1 import ModelDeploymentSpec, ModelRuntimeSpec
from podium.keys import Key
from podium.kube.client import Object
from podium.kube.pods import is_ready
from podium.kube.reading import LEFT_OUT, unreadable
from podium.kube.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    HPAS,
    MODEL_DEPLOYMENTS,
    MODEL_RUNTIMES,
    PDBS,
    PODS,
    SERVICES,
    Resource,
)
from podium.manifests.errors import MalformedRevision
from podium.manifests.fetch import Fetcher
from podium.manifests.ledger import digest_in, ledger_in
from podium.manifests.owner import Owner
from podium.manifests.revision import Revision
from podium.manifests.router import RouterPods
from podium.reconcile import readings
from podium.reconcile.observed import PENDING, Observed
from podium.reconcile.parsed import Memory
from podium.reconcile.ports import Ports, PortsTaken
from podium.reconcile.router_claims import installation_of, left_to
from podium.reconcile.routers import ROUTERS, RouterPod, Seen
from podium.reconcile.setaside import set_aside
from podium.reconcile.sightings import Sightings
from podium.reconcile.symptoms import kept_out
from podium.reconcile.views import Answers, Measures, Nobody, View
from podium.rollout.lateness import to_keep
from podium.rollout.measuring import Findings, restored
from podium.rollout.moment import Moment
from podium.rollout.revision import RevisionState
from podium.rollout.scarcity import awaited
from podium.rollout.state import Proposal, Situation, Timings
from podium.rollout.words import sentences
from podium.settings import Settings

COMMAND_LENGTH = 1024
"""Characters of the command annotation that are read: status, which repeats it, is bounded."""
READ = frozenset({DEPLOYMENTS, SERVICES, HPAS, PDBS, CONFIG_MAPS})
"""Children that a pass decides from, and writes: ControllerRevisions are set aside one by one (setaside.py)."""
UNREACHABLE = timedelta(seconds=10)
"""How long routers may be late, or silent, before status tells of it."""


class Observer:
    """Observes; remembers only since when it has seen a symptom, and what it has parsed."""

    def __init__(
        self,
        cache: View,
        settings: Settings,
        fetcher: Fetcher,
        answers: Answers | None = None,
        ports: Ports | None = None,
        measures: Measures | None = None,
    ) -> None:
        self._cache = cache
        self._measures = measures or Nobody()
        self._answers = answers or Nobody()
        self._ports = ports or Ports(cache)
        self._fetcher = fetcher
        self._timings = Timings(
            timedelta(seconds=settings.crash_grace),
            timedelta(seconds=settings.champion_down),
            timedelta(seconds=settings.environment_window),
            router_drain=timedelta(seconds=RouterPods.read(settings.router_pods, image="").drain_seconds),
        )
        self._identity = settings.identity
        self._installation = settings.installation
        self._memories: dict[Key, Memory] = {}
        self._runtimes = Memory()

    def forget(self, key: Key) -> None:
        """The ModelDeployment is gone."""
        self._memories.pop(key, None)
        self._ports.free(key.namespace, key.name)

    def lost_sight(self) -> None:
        """Forget since when symptoms were seen: another operator may have led meanwhile."""
        for memory in self._memories.values():
            memory.sightings = None
        self._ports.forget()

    def read_ahead(self, key: Key) -> None:
        """Parse what a first pass would, as far as it is kept by its version: so nothing here can be out of date.

        That is most of what a first pass costs. Symptoms are left alone: they count from when they were first seen.
        """
        obj = self._cache.get(MODEL_DEPLOYMENTS, key.namespace, key.name)
        if obj is None:
            self.forget(key)
            return
        if unreadable(obj):
            return
        memory = self._memories.setdefault(key, Memory())
        owner = Owner(key.name, key.namespace, obj["metadata"]["uid"])
        for record in self._cache.owned(CONTROLLER_REVISIONS, key.namespace, key.name):
            if readings.is_child(record, owner):
                with suppress(MalformedRevision):  # the pass says so
                    memory.revision(record)
        with suppress(ValueError):
            self._proposal(Observed(obj, owner, {}), ModelDeploymentSpec.parse(obj.get("spec") or {}), memory)

    def observe(self, key: Key, moment: Moment) -> Observed | None:
        """None when there is no such ModelDeployment."""
        obj = self._cache.get(MODEL_DEPLOYMENTS, key.namespace, key.name)
        if obj is None:
            return None
        memory = self._memories.setdefault(key, Memory())
        owner = Owner(key.name, key.namespace, obj["metadata"]["uid"])
        children = {
            (resource, child["metadata"]["name"]): child
            for resource in (CONTROLLER_REVISIONS, DEPLOYMENTS, SERVICES, HPAS, PDBS)
            for child in self._cache.owned(resource, key.namespace, key.name)
            if readings.is_child(child, owner)
        }
        told = self._cache.get(CONFIG_MAPS, key.namespace, names.routing_name(key.name))
        if told is not None and readings.is_child(told, owner):
            children[CONFIG_MAPS, told["metadata"]["name"]] = told
        for ledger in self._cache.owned(CONFIG_MAPS, key.namespace, key.name):
            if readings.is_child(ledger, owner):
                children[CONFIG_MAPS, ledger["metadata"]["name"]] = ledger
        odd = {place: child for place, child in children.items() if place[0] in READ and unreadable(child)}
        for (resource, _), one in (((MODEL_DEPLOYMENTS, key.name), obj), *odd.items()):
            if why := unreadable(one):
                whole = {place: child for place, child in children.items() if place not in odd}
                said = _cannot_be_read(resource, one, why)
                return Observed(obj, owner, whole, invalid=said, reason=Reason.UNREADABLE)
        annotations = obj["metadata"].get("annotations") or {}
        command = annotations.get(names.ANNOTATION_COMMAND, "").strip()[:COMMAND_LENGTH]
        aside = set_aside(children, memory.revision)
        unread = Observed(obj, owner, children, invalid=aside.holds, reason=Reason.RECORD_UNREADABLE)
        children = {place: child for place, child in children.items() if place not in aside.places}
        missing = readings.unrecorded(children.values(), command, owner)
        if missing:
            # While a ControllerRevision is missing, its children are neither changed nor used for a decision.
            children, command = {}, ""
        seen = Observed(obj, owner, children, aside=aside)
        try:
            # Quick to read (20 us), and as a typed object large to keep (8 KB).
            spec = ModelDeploymentSpec.parse(obj.get("spec") or {})
        except ValueError as error:
            return unread if aside.holds else replace(seen, invalid=str(error))
        unroutable = ""
        try:
            seen = replace(seen, port=self._port(seen, moment, listens=ROUTERS[spec.traffic.router].exact))
        except PortsTaken as error:
            unroutable = str(error) if ROUTERS[spec.traffic.router].exact else ""
            spec = _past_the_routers(spec)
        seen = self._with_situation(key, seen, spec, memory, moment, command, missing, unroutable)
        return unread if aside.holds and not _serves_surely(seen) else seen

    def _with_situation(
        self,
        key: Key,
        seen: Observed,
        spec: ModelDeploymentSpec,
        memory: Memory,
        moment: Moment,
        command: str,
        missing: Mapping[str, str],
        unroutable: str,
    ) -> Observed:
        runtime, proposal, resolved = self._proposal(seen, spec, memory)
        if unroutable:
            proposal = replace(proposal, reason=Reason.INVALID_SPEC, message=unroutable)
        if missing:
            proposal = replace(proposal, reason=Reason.RECORD_MISSING, message=readings.missing(missing, seen.owner))
        sightings = Sightings.after(memory.sightings, moment)
        pods = self._cache.owned(PODS, key.namespace, key.name)
        states, revisions = self._revisions(seen, pods, memory, sightings)
        router = ROUTERS[spec.traffic.router]
        idle = frozenset(r.name for r in states if r.workload is not None and r.workload.live == 0)
        looked = self._look(seen, pods, idle)
        traffic = router.traffic(looked)
        situation = Situation(
            name=key.name,
            namespace=seen.owner.namespace,
            spec=spec,
            proposal=proposal,
            revisions=states,
            command=command,
            last_command=_acted_on(seen.status),
            last_command_at=readings.last_command_at(seen.status),
            traffic=traffic,
            exact=router.exact and traffic.weighted,
            timings=self._timings,
            operator=self._identity,
            looking_since=sightings.first_look,
            unread=seen.aside.holds,
            unroutable=unroutable,
        )
        situation = self._supplemented(situation, seen, key, revisions, memory, sightings)
        left = self._left_to(key, sightings) if router.exact else ""
        doubt = traffic.doubt or traffic.kept_out
        doubted = doubt and sightings.first(key.name, "Doubt") + UNREACHABLE
        memory.sightings = sightings
        # A ledger is parsed once, but is large: it is not kept beside what is measured.
        waiting = {"ledger"} if situation.findings and situation.findings.stored else set()
        memory.keep({"proposal", *waiting, *revisions, *seen.aside.names})
        before, memory.replicas = memory.replicas, spec.replicas
        return replace(
            seen,
            situation=situation,
            revisions=revisions,
            runtime=runtime,
            resolved=resolved,
            replicas_before=before,
            seen=looked,
            left_to=left,
            left_out=_left_out(seen, situation.candidate),
            unreachable=doubt if doubted and (_is_told(seen.status) or moment.reached(doubted)) else "",
        )

    def _supplemented(
        self,
        situation: Situation,
        seen: Observed,
        key: Key,
        revisions: Mapping[str, Revision],
        memory: Memory,
        sightings: Sightings,
    ) -> Situation:
        """With since when something has been so, with what is measured, and with what new pods wait for."""
        champion = situation.champion
        if champion and champion.replicas and _fewer(champion, 1, "Down", sightings):
            situation = replace(situation, champion_down_since=sightings.first(champion.name, "Down"))
        candidate = situation.candidate
        if candidate and candidate.record.suspended_since and not (situation.spec.suspend or situation.emptied):
            situation = replace(situation, returning_since=sightings.first(candidate.name, "Returning"))
        if candidate and kept_out(candidate):
            situation = replace(situation, candidate_kept_out_since=sightings.first(candidate.name, "KeptOut"))
        if candidate and candidate.record.asked:
            situation = replace(situation, findings=self._findings(seen, key, candidate, memory))
        had = candidate and candidate.record.available_at and not (kept_out(candidate) or situation.returning)
        if candidate and champion and situation.target and had:
            least = to_keep(situation, champion, candidate, sightings.moment)
            if _fewer(candidate, least, f"Fewer than {least}", sightings):
                since = sightings.first(candidate.name, f"Fewer than {least}")
                situation = replace(situation, candidate_short_since=since)
        if candidate and champion and champion.has_pods:
            # the template is unpacked only while something is awaited
            held = awaited(candidate) and readings.extended_resources(revisions[champion.name])
            if held and readings.same_nodes(revisions[champion.name], revisions[candidate.name]):
                situation = replace(situation, scarce=min(awaited(candidate) & held, default=""))
        return situation

    def _left_to(self, key: Key, sightings: Sightings) -> str:
        """What to say of another installation that keeps the routers; empty if none does, or not for long enough.

        At the beginning of its term an operator takes them over (router_objects.py), so it waits a moment.
        """
        whose = installation_of(self._cache.get(DEPLOYMENTS, key.namespace, names.ROUTER))
        if whose in ("", self._installation):
            return ""
        lasts = sightings.moment.reached(sightings.first(key.name, "LeftTo") + UNREACHABLE)
        return left_to(whose, key.namespace) if lasts else ""

    def _proposal(
        self, seen: Observed, spec: ModelDeploymentSpec, memory: Memory
    ) -> tuple[Object | None, Proposal, Revision | None]:
        """The ModelRuntime, what spec and runtime make, and that in full if it was made just now."""
        runtime = self._cache.get(MODEL_RUNTIMES, None, spec.runtime.name)
        version = (seen.owner.uid, seen.generation, runtime and runtime["metadata"]["resourceVersion"])
        resolved: Revision | None = None

        def propose() -> Proposal:
            nonlocal resolved
            proposal, resolved = readings.propose(seen.owner, spec, runtime, self._fetcher, self._runtime)
            return proposal

        return runtime, memory.once("proposal", version, propose), resolved

    def _runtime(self, obj: Object) -> ModelRuntimeSpec:
        """A ModelRuntime's spec, which thousands of proposals read alike; ValueError."""
        meta = obj["metadata"]
        if why := unreadable(obj):
            raise ValueError(f"it cannot be read: {why}; to go on: take out of it what nobody needs")
        version = (meta["uid"], meta["resourceVersion"])
        return self._runtimes.once(meta["name"], version, lambda: ModelRuntimeSpec.parse(obj["spec"]))

    def _findings(self, seen: Observed, key: Key, candidate: RevisionState, memory: Memory) -> Findings | None:
        """What is measured; before that, what the ledger said last."""
        found = self._measures.findings(key, candidate.record.id)
        live = seen.child(CONFIG_MAPS, names.ledger_name(candidate.name))
        if found is not None or live is None or LEFT_OUT in live:
            return found and replace(found, kept=live is not None)
        rollout, meta = candidate.record.id, live["metadata"]
        version = (rollout, meta["uid"], meta["resourceVersion"])
        asked = candidate.record.asked
        return memory.once("ledger", version, lambda: restored(ledger_in(live), digest_in(live), rollout, asked))

    def _port(self, seen: Observed, moment: Moment, *, listens: bool) -> int | None:
        """The port stays the ModelDeployment's for as long as anything tells the routers of it."""
        owner = seen.owner
        told = seen.child(CONFIG_MAPS, names.routing_name(owner.name))
        if not listens and told is None:
            self._ports.free(owner.namespace, owner.name)
            return None
        return self._ports.of(owner.namespace, owner.name, owner.uid, seen.child(SERVICES, owner.name), moment.now)

    def _look(self, seen: Observed, pods: list[Object], idle: frozenset[str]) -> Seen:
        name, namespace = seen.owner.name, seen.owner.namespace
        return Seen(
            name,
            self._cache.owned(ENDPOINT_SLICES, namespace, name),
            pods,
            seen.child(SERVICES, name),
            seen.child(CONFIG_MAPS, names.routing_name(name)),
            [
                self._router(pod)
                for pod in self._cache.owned(PODS, namespace, names.ROUTER)
                if not readings.is_over(pod)
            ],
            idle,
            readings.refusal_of_pods(self._cache.get(DEPLOYMENTS, namespace, names.ROUTER)),
        )

    def _router(self, pod: Object) -> RouterPod:
        meta = pod["metadata"]
        said = self._answers.said(meta["namespace"], meta["name"])
        return RouterPod(meta["name"], is_ready(pod), "deletionTimestamp" in meta, said)

    def _revisions(
        self, seen: Observed, pods: list[Object], memory: Memory, sightings: Sightings
    ) -> tuple[tuple[RevisionState, ...], dict[str, Revision]]:
        revisions: dict[str, Revision] = {}
        states = []
        for (resource, name), child in seen.children.items():
            if resource is not CONTROLLER_REVISIONS or "deletionTimestamp" in child["metadata"]:
                continue
            revision, template_digest = memory.revision(child)
            revisions[name] = revision
            own = [p for p in pods if p["metadata"]["labels"].get(names.LABEL_REVISION) == name]
            deployment = seen.child(DEPLOYMENTS, name)
            has_hpa = seen.child(HPAS, name) is not None
            states.append(readings.read_revision(child, revision, template_digest, deployment, own, has_hpa, sightings))
        return tuple(sorted(states, key=lambda s: (s.number, s.created, s.name))), revisions


def _left_out(seen: Observed, candidate: RevisionState | None) -> str:
    name = names.ledger_name(candidate.name) if candidate and candidate.record.asked else ""
    return name if LEFT_OUT in (seen.child(CONFIG_MAPS, name) or {}) else ""


def _is_told(status: Mapping[str, Any]) -> bool:
    """Whether status tells of the routers already: another operator has watched them for long enough."""
    return any(one.get("type") == names.ROUTER_UNREACHABLE for one in status.get("conditions") or [])


def _past_the_routers(spec: ModelDeploymentSpec) -> ModelDeploymentSpec:
    """The same without a router: what runs is looked after as before it asked for one."""
    return spec.model_copy(update={"traffic": spec.traffic.model_copy(update={"router": "None"})})


def _serves_surely(seen: Observed) -> bool:
    """Whether requests go to the champion of the records that can be read, whatever one that cannot be read may say.

    The stable Service knows, and where that is lost, status. Then the champion can be repaired, and given no less.
    """
    champion = seen.situation.champion if seen.situation else None
    service = seen.child(SERVICES, seen.owner.name)
    told = readings.revision_of(service) if service else (seen.status.get("champion") or {}).get("revision")
    return champion is not None and champion.name == told


def _fewer(revision: RevisionState, least: int, what: str, sightings: Sightings) -> bool:
    """Whether fewer pods of it are available, which is sighted as `what`.

    Counts that are not settled neither begin nor end that: a write of ours is no recovery.
    """
    settled = revision.workload is None or revision.workload.settled
    return revision.reported < least and (settled or sightings.known(revision.name, what))


def _cannot_be_read(resource: Resource, obj: Object, why: str) -> str:
    """Of an object of which the metadata alone is known: what is not known is not taken for empty."""
    meta = obj["metadata"]
    where = f"{resource.kind} {meta['namespace']}/{meta['name']} cannot be read: {why}"
    command = f"kubectl get {resource.kind.lower()} {meta['name']} -n {meta['namespace']} -o yaml"
    way_out = f"to go on: take out of it what nobody needs ({command} shows it)"
    return sentences(f"{where}; nothing is changed until it can be", way_out)


def _acted_on(status: Mapping[str, Any]) -> str:
    """The command that status says has been acted on."""
    last = status.get("lastCommand") or {}
    return "" if last.get("result") == PENDING else str(last.get("value", ""))
