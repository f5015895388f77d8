"""The objects that run a namespace's routers: made while anything is told to routers there, gone a while after that.

They are nobody's children: all ModelDeployments of the namespace share them. What tells the routers, a ConfigMap of
each ModelDeployment, is also what says that they are needed.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from podium.api import names
from podium.keys import Key
from podium.kube.client import ApiError, KubeClient, Object
from podium.kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    HPAS,
    MODEL_DEPLOYMENTS,
    PDBS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    Resource,
    resource_of,
    router_key,
)
from podium.manifests.canonical import digest
from podium.manifests.router import RouterPods, router_objects
from podium.manifests.routing import told_in
from podium.reconcile.drift import Memory, differences, project, sighting
from podium.reconcile.outcome import Outdated, PassRefused
from podium.reconcile.router_claims import installation_of, left_to
from podium.reconcile.router_turns import TURN, Turns
from podium.rollout.wire import read_time
from podium.settings import Settings

log = logging.getLogger(__name__)

LINGER: Final = timedelta(minutes=10)
"""How long routers stay when nothing is told to them any more: whoever comes back has them at once."""
LOOK_AGAIN: Final = 240.0
"""Seconds after which what is not watched, the ServiceAccount and its binding, is applied again: at each resync."""
UNWATCHED: Final = (SERVICE_ACCOUNTS, ROLE_BINDINGS)
WATCHED: Final = (HPAS, PDBS, DEPLOYMENTS)
GOING: Final = (ROLE_BINDINGS, SERVICE_ACCOUNTS, *WATCHED)
"""In the order in which they are deleted: what is watched comes last, and so tells a later pass of what is left."""


class Cache(Protocol):
    """What is read here, and where the answers to writes go."""

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """One object as last seen."""
        ...

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        """Objects of a kind that are found by a name."""
        ...

    def all(self, resource: Resource) -> list[Object]:
        """Every object of a kind."""
        ...

    def put(self, resource: Resource, obj: Object) -> bool:
        """Take in the answer to a write."""
        ...

    def drop(self, resource: Resource, obj: Object) -> bool:
        """Take note of a deletion."""
        ...


def utc_now() -> datetime:
    """The wall clock: what is unused is stamped with it."""
    return datetime.now(UTC)


class RouterObjects:
    """Keeps the routers of each namespace as they should be."""

    def __init__(
        self,
        cache: Cache,
        client: KubeClient,
        settings: Settings,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises InvalidRouterPods."""
        self._pods = RouterPods.read(settings.router_pods, image=settings.router_image)
        self._bound_by_chart = bool(settings.watch_namespaces)
        self._cache, self._client, self._settings = cache, client, settings
        self._now, self._clock = now, clock
        self._memories: dict[tuple[str, Resource], Memory] = {}
        self._applied_at: dict[tuple[str, Resource], float] = {}
        self._turns = Turns(clock)
        self._claimed: set[str] = set()
        """Namespaces whose routers were found to be this installation's, or were made so."""

    def keys(self) -> list[Key]:
        """Every namespace that has routers, or needs them."""
        told = {each["metadata"]["namespace"] for each in self._cache.all(CONFIG_MAPS) if told_in(each)}
        return [router_key(namespace) for namespace in sorted(told | self._left())]

    def _left(self) -> set[str]:
        """Namespaces that have routers, or what is left of them."""
        found = (each for resource in WATCHED for each in self._cache.all(resource) if _is_ours(each))
        return {each["metadata"]["namespace"] for each in found if each["metadata"]["name"] == names.ROUTER}

    def read_ahead(self, key: Key) -> None:
        """There is nothing to parse."""

    def step_down(self) -> None:
        """The Lease is lost: the next term looks at everything anew."""
        self._memories.clear()
        self._applied_at.clear()
        self._turns = Turns(self._clock)

    async def reconcile(self, key: Key) -> float | None:
        """One pass over the routers of one namespace.

        Raises PassRefused for what only a person can mend, ApiError for what passes, and NotLeader.
        """
        try:
            # One that is not Podium's is kept without its text, and makes no routers.
            told = [each for each in self._cache.owned(CONFIG_MAPS, key.namespace, names.ROUTER) if told_in(each)]
            if not told:
                return await self._let_go(key.namespace)
            if any(self._is_for_ours(each) for each in told):
                return await self._keep(key.namespace)
            return None
        except Outdated:
            return 0.0
        except ApiError as error:
            if error.passing or any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes):
                raise
            log.warning("the routers of namespace %s cannot be kept: %s", key.namespace, error)
            raise PassRefused(str(error), retry_after=self._settings.refused_retry, wake_in=None) from error

    def _is_for_ours(self, told: Object) -> bool:
        """Whether its ModelDeployment is known; those of another installation, which has another selector, are not."""
        meta = told["metadata"]
        model = meta["labels"].get(names.LABEL_MODEL, "")
        return self._cache.get(MODEL_DEPLOYMENTS, meta["namespace"], model) is not None

    async def _keep(self, namespace: str) -> float | None:
        live = self._live(DEPLOYMENTS, namespace)
        if live is not None:
            await self._claim(live)
            if (live["metadata"].get("annotations") or {}).get(names.ANNOTATION_UNUSED_SINCE):
                await self._annotate(live, names.ANNOTATION_UNUSED_SINCE, None)
            # Without a spec it is one that has lost its mark: the cache keeps metadata alone, and _ensure puts it back.
            if live.get("spec", {}).get("replicas", 1) < self._pods.min_replicas:
                # The autoscaler does nothing while there are to be 0.
                await self._patch(live, {"spec": {"replicas": self._pods.min_replicas}})
        wait = None
        for desired in router_objects(namespace, self._pods, replicas=None):
            resource = resource_of(desired)
            if resource is ROLE_BINDINGS and self._bound_by_chart:
                continue
            if resource is not DEPLOYMENTS or self._up_to_date(namespace, desired):
                await self._ensure(namespace, resource, desired)
            elif self._turns.may_change(namespace, self._deployments()):
                with self._turns.changing(namespace):
                    await self._ensure(namespace, resource, desired)
            else:
                wait = TURN
        return wait

    async def _claim(self, live: Object) -> None:
        """Say whose the routers are. Raises PassRefused if another installation has said so after this one.

        Two that overwrite each other's routers would replace all their pods time and again. At the first look another
        installation's are taken over: it may be gone, and this one its successor.
        """
        namespace, whose = live["metadata"]["namespace"], installation_of(live)
        if whose != self._settings.installation:
            if whose and namespace in self._claimed:
                message = left_to(whose, namespace)
                log.warning(message)
                raise PassRefused(message, retry_after=self._settings.refused_retry, wake_in=None)
            await self._annotate(live, names.ANNOTATION_INSTALLATION, self._settings.installation)
        self._claimed.add(namespace)

    async def _ensure(self, namespace: str, resource: Resource, desired: Object) -> None:
        place, stamp = (namespace, resource), digest(desired)
        stamped = _stamped(desired, stamp)
        live, memory = self._live(resource, namespace), self._memories.get(place)
        if resource in UNWATCHED:
            if memory is None:
                await self._not_somebody_elses(resource, namespace)
            elif memory.applied == stamp and self._clock() - self._applied_at[place] < LOOK_AGAIN:
                return
        elif live is None:
            await self._not_somebody_elses(resource, namespace)
        elif "deletionTimestamp" in live["metadata"]:
            return
        elif memory is None:
            if project(live, stamped) == stamped:
                self._memories[place] = Memory(stamp, None, sighting(live))
                return
        elif memory.applied == stamp:
            if memory.unchanged(live):
                return
            before, current = memory.made or stamped, project(live, stamped)
            if current == before:
                memory.seen = sighting(live)
                return
            fields, at = sorted(differences(before, current)), self._clock()
            if memory.contested(fields, at, self._settings.drift_window, self._settings.drift_limit):
                log.warning(
                    "%s %s in namespace %s: %s is changed time and again by another writer, and is left as it is for "
                    "now: let that writer leave it alone",
                    resource.kind,
                    names.ROUTER,
                    namespace,
                    ", ".join(fields[:3]),
                )
                return
            memory.repaired(fields, at, self._settings.drift_window)
        if resource is DEPLOYMENTS and live is None:
            await self._begin(stamped)
        uid = memory.uid if memory and resource in UNWATCHED else live["metadata"]["uid"] if live else ""
        answer = await self._apply(stamped, uid)
        made = project(answer, stamped)
        repairs = memory.repairs if memory else {}
        self._memories[place] = Memory(stamp, None if made == stamped else made, sighting(answer), repairs)
        self._applied_at[place] = self._clock()
        if resource not in UNWATCHED:
            self._cache.put(resource, answer)

    async def _apply(self, desired: Object, uid: str) -> Object:
        """Server-side apply to the object of that uid; empty: to whichever has its name, or to a new one.

        Else a Deployment that somebody has just deleted would come back with one pod, and what a person has put in its
        place would be overwritten. Raises Outdated.
        """
        if not uid:
            return await self._client.apply(desired)
        meant = {**desired, "metadata": {**desired["metadata"], "uid": uid}}
        return await self._on(resource_of(desired), desired["metadata"]["namespace"], uid, self._client.apply(meant))

    async def _on(self, resource: Resource, namespace: str, uid: str, write: Awaitable[Object]) -> Object:
        """The answer to a write to the object of that uid. Raises Outdated once the cache no longer has that one."""
        try:
            return await write
        except ApiError as error:
            if not error.another and error.status != 404:
                raise
            found = await self._client.get(resource, namespace, names.ROUTER)
            if found is not None and found["metadata"]["uid"] == uid:
                raise
            self._memories.pop((namespace, resource), None)
            known = self._live(resource, namespace)
            if known is not None and known["metadata"]["uid"] == uid:
                self._cache.drop(resource, known)
            raise Outdated from error

    async def _begin(self, desired: Object) -> None:
        """Make the Deployment with its least number of pods, which is the autoscaler's from the next write on."""
        spec, meta = {**desired["spec"], "replicas": self._pods.min_replicas}, desired["metadata"]
        claimed = {**meta["annotations"], names.ANNOTATION_INSTALLATION: self._settings.installation}
        try:
            await self._client.create({**desired, "metadata": {**meta, "annotations": claimed}, "spec": spec})
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    async def _not_somebody_elses(self, resource: Resource, namespace: str) -> None:
        """Before the first write of what the cache does not know: it may be there, and a person's."""
        found = await self._client.get(resource, namespace, names.ROUTER)
        if found is not None and not _is_ours(found):
            message = (
                f"{resource.kind} {names.ROUTER} exists in namespace {namespace} and is none of Podium's: the routers "
                "of ModelDeployments there need that name; rename or delete it"
            )
            log.warning(message)
            raise PassRefused(message, retry_after=self._settings.refused_retry, wake_in=None)

    def _up_to_date(self, namespace: str, desired: Object) -> bool:
        """Whether the Deployment already has the desired template; also True where there is none to replace."""
        live = self._live(DEPLOYMENTS, namespace)
        said = (live["metadata"].get("annotations") or {}).get(names.ANNOTATION_APPLIED) if live else None
        return live is None or said == digest(desired)

    async def _let_go(self, namespace: str) -> float | None:
        """Nothing tells routers anything here any more: they go once that has been so for LINGER."""
        live = self._live(DEPLOYMENTS, namespace)
        if live is None:  # a person deleted it, or it was never made
            if self._is_left(namespace):
                await self._remove(namespace)
            return None
        at, now = _unused_since(live), self._now()
        if at is None or at > now:
            await self._annotate(live, names.ANNOTATION_UNUSED_SINCE, now.isoformat())
            return LINGER.total_seconds()
        left = (at + LINGER - now).total_seconds()
        if left > 0:
            return left
        await self._remove(namespace)
        return None

    def _is_left(self, namespace: str) -> bool:
        """Whether anything of routers is there, or was made in this term."""
        return any((namespace, one) in self._memories or self._live(one, namespace) is not None for one in GOING)

    async def _remove(self, namespace: str) -> None:
        for resource in GOING:
            if resource is ROLE_BINDINGS and self._bound_by_chart:
                continue
            known = self._live(resource, namespace)
            if resource in UNWATCHED:
                found = await self._client.get(resource, namespace, names.ROUTER)
                known = found if found is not None and _is_ours(found) else None
            if known is not None:
                await self._client.delete(resource, namespace, names.ROUTER, uid=known["metadata"]["uid"])
                if resource not in UNWATCHED:
                    self._cache.drop(resource, known)
            self._memories.pop((namespace, resource), None)
        self._claimed.discard(namespace)

    async def _annotate(self, live: Object, annotation: str, value: str | None) -> None:
        await self._patch(live, {"metadata": {"annotations": {annotation: value}}})

    async def _patch(self, live: Object, changes: Object) -> None:
        """Change these fields of the Deployment. Raises Outdated."""
        namespace, uid = live["metadata"]["namespace"], live["metadata"]["uid"]
        patch = {**changes, "metadata": {"uid": uid, **changes.get("metadata", {})}}
        write = self._client.merge(DEPLOYMENTS, namespace, names.ROUTER, patch)
        self._cache.put(DEPLOYMENTS, await self._on(DEPLOYMENTS, namespace, uid, write))

    def _live(self, resource: Resource, namespace: str) -> Object | None:
        if resource in UNWATCHED:
            return None
        found = self._cache.get(resource, namespace, names.ROUTER)
        return found if found is not None and _is_ours(found) else None

    def _deployments(self) -> dict[str, Object]:
        """Of routers, by namespace."""
        return {
            each["metadata"]["namespace"]: each
            for each in self._cache.all(DEPLOYMENTS)
            if each["metadata"]["name"] == names.ROUTER and _is_ours(each)
        }


def _is_ours(live: Object) -> bool:
    labels = live["metadata"].get("labels")
    return isinstance(labels, dict) and names.router_labels().items() <= labels.items()


def _unused_since(deployment: Object) -> datetime | None:
    said = (deployment["metadata"].get("annotations") or {}).get(names.ANNOTATION_UNUSED_SINCE, "")
    try:
        return read_time(said)
    except ValueError:
        return None


def _stamped(desired: Object, stamp: str) -> Object:
    meta = desired["metadata"]
    return {
        **desired,
        "metadata": {**meta, "annotations": {**(meta.get("annotations") or {}), names.ANNOTATION_APPLIED: stamp}},
    }
