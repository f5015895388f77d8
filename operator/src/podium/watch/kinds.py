"""The watched kinds: one row for each says all that watches, cache, feed and resync need to know of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from podium.api import names
from podium.keys import Key
from podium.kube import resources
from podium.kube.client import Object
from podium.kube.resources import MODEL_DEPLOYMENTS, MODEL_RUNTIMES, Resource, router_key
from podium.settings import Settings
from podium.watch import kept

NamespacedName = tuple[str, str]
"""(namespace, name); the namespace of a cluster-scoped object is empty."""


class View(Protocol):
    """What of the cache may decide whom an object concerns."""

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """One object."""
        ...

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        """All objects of a kind that are found by this name."""
        ...

    def models_using(self, runtime: str) -> list[Key]:
        """The ModelDeployments that name a ModelRuntime."""
        ...


Wakes = Callable[[Object, View], Iterable[Key]]
"""Whom an object concerns."""


def by_model(obj: Object) -> NamespacedName | None:
    """A child is found by its ModelDeployment."""
    model = kept.model_of(obj)
    return None if model is None else (obj["metadata"].get("namespace", ""), model)


def by_service(obj: Object) -> NamespacedName | None:
    """A pod is found by its ModelDeployment; as a router, only behind the routers' Services.

    Else whoever labels a pod as if it were of the model `podium-router` would have everybody wait for its answers.
    """
    found = by_model(obj)
    if found is None or found[1] != names.ROUTER:
        return found
    return found if names.router_selector().items() <= obj["metadata"]["labels"].items() else None


def by_runtime(obj: Object) -> NamespacedName:
    """A ModelDeployment is found by its ModelRuntime."""
    return "", kept.runtime_of(obj)


def wake_model(obj: Object, view: View) -> Iterable[Key]:
    """A child concerns its ModelDeployment; one that is not known (yet, or by --selector) is not woken."""
    model, namespace = kept.model_of(obj), obj["metadata"]["namespace"]
    if model is None or view.get(MODEL_DEPLOYMENTS, namespace, model) is None:
        return ()
    return (MODEL_DEPLOYMENTS.key(namespace, model),)


def wake_itself(obj: Object, view: View) -> Iterable[Key]:
    """A ModelDeployment concerns itself and, if its ConfigMap is there, the routers: they stay while it is known."""
    namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
    told = view.get(resources.CONFIG_MAPS, namespace, names.routing_name(name))
    return (MODEL_DEPLOYMENTS.key(namespace, name), *(wake_routers(obj, view) if told else ()))


def wake_users(obj: Object, view: View) -> Iterable[Key]:
    """A ModelRuntime concerns itself, and those that name it."""
    name = obj["metadata"]["name"]
    return (MODEL_RUNTIMES.key("", name), *view.models_using(name))


def is_ledger(obj: Object) -> bool:
    """Whether a ConfigMap keeps the evidence of a rollout; the others tell routers."""
    labels = obj["metadata"].get("labels")
    return isinstance(labels, dict) and labels.get(names.LABEL_ROUTER) == names.LEDGER


def is_spent(obj: Object, view: View) -> bool:
    """Whether a ConfigMap is the ledger of a rollout that has been decided: only its digest is read any more."""
    meta = obj["metadata"]
    if not is_ledger(obj) or not meta["name"].endswith(names.LEDGER_SUFFIX):
        return False
    record = view.get(resources.CONTROLLER_REVISIONS, meta["namespace"], meta["name"].removesuffix(names.LEDGER_SUFFIX))
    return record is not None and bool((record["metadata"].get("annotations") or {}).get(names.ANNOTATION_OUTCOME))


def its_ledger(obj: Object) -> tuple[Resource, str]:
    """What may be spent once a ControllerRevision says that its rollout has been decided."""
    return resources.CONFIG_MAPS, names.ledger_name(obj["metadata"]["name"])


def by_use(obj: Object) -> NamespacedName | None:
    """What the routers are told is found by their namespace, a ledger by its ModelDeployment."""
    return by_model(obj) if is_ledger(obj) else (obj["metadata"].get("namespace", ""), names.ROUTER)


def wake_routers(obj: Object, _: View) -> Iterable[Key]:
    """Whether a namespace needs routers depends on what they are told."""
    return (router_key(obj["metadata"]["namespace"]),)


def wake_told(obj: Object, view: View) -> Iterable[Key]:
    """What the routers are told concerns its ModelDeployment, and them."""
    return (*wake_model(obj, view), *wake_hearers(obj, view))


def wake_hearers(obj: Object, view: View) -> Iterable[Key]:
    """What the routers are told concerns them; a ledger does not."""
    return () if is_ledger(obj) else wake_routers(obj, view)


def of_routers(otherwise: Wakes) -> Wakes:
    """For kinds that routers have, too: their objects concern the namespace's routers, and whom these serve."""

    def wakes(obj: Object, view: View) -> Iterable[Key]:
        if kept.model_of(obj) != names.ROUTER:
            yield from otherwise(obj, view)
            return
        namespace = obj["metadata"]["namespace"]
        yield router_key(namespace)
        for told in view.owned(resources.CONFIG_MAPS, namespace, names.ROUTER):
            yield from wake_model(told, view)

    return wakes


def by_routing(_: Settings) -> str:
    """Of ConfigMaps those alone that tell the routers, and the ledgers of what was counted at them."""
    return f"{names.LABEL_ROUTER} in ({names.ROUTING},{names.LEDGER})"


def by_label(_: Settings) -> str:
    """Children are selected by the API server, and so at no cost to us."""
    return names.LABEL_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A row of the table; the defaults are those of a child of a ModelDeployment."""

    selector: Callable[[Settings], str] = by_label
    """The label selector that it is listed and watched with; empty: all of them."""
    keep: Callable[[Object], None] | None = None
    """What is kept of an object, beside what `kept.prune` does to all."""
    spent: Callable[[Object, View], bool] = lambda _obj, _view: False
    """Whether nobody needs more than an object's metadata, as things are."""
    spends: Callable[[Object], tuple[Resource, str]] | None = None
    """Kind and name of the other object of the namespace that a change of this one may make `spent`."""
    constant: str = ""
    """A field that never changes while its object lives; all versions share one in memory."""
    made: bool = True
    """Whether Podium makes such objects: then those of others are not looked into, though they bear our label."""
    index: Callable[[Object], NamespacedName | None] | None = by_model
    """Which object it is found by in the cache; None: by none."""
    wakes: Wakes = wake_model
    """Whose pass is due at news of it."""
    echoes: Wakes | None = None
    """Whose pass is due at our own writes of it: others' than the writer's. None: nobody's."""
    optional: bool = False
    """Whether the API server may not serve it: then there is none of it. Else the operator waits until it does."""


# Pods and EndpointSlices are others' work in any case, and count for what the stable Service does, whoever made them.
KINDS: Final[Mapping[Resource, Kind]] = {
    MODEL_DEPLOYMENTS: Kind(selector=lambda s: s.selector, made=False, index=by_runtime, wakes=wake_itself),
    MODEL_RUNTIMES: Kind(selector=lambda _: "", made=False, index=None, wakes=wake_users),
    resources.CONTROLLER_REVISIONS: Kind(keep=kept.controller_revision, constant="data", spends=its_ledger),
    resources.DEPLOYMENTS: Kind(keep=kept.deployment, wakes=of_routers(wake_model)),
    resources.SERVICES: Kind(),
    resources.CONFIG_MAPS: Kind(
        selector=by_routing, index=by_use, wakes=wake_told, echoes=wake_hearers, spent=is_spent
    ),
    resources.ENDPOINT_SLICES: Kind(keep=kept.endpoint_slice, made=False),
    resources.HPAS: Kind(wakes=of_routers(wake_model)),
    resources.PDBS: Kind(wakes=of_routers(wake_model)),
    resources.PODS: Kind(keep=kept.pod, made=False, index=by_service, wakes=of_routers(wake_model)),
}
"""Every kind that is listed and watched, in the order in which they are compared with the API server."""
