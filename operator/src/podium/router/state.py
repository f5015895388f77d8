"""What a router knows of its namespace: the last good routing of each ModelDeployment, and the pods. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from podium.router.endpoints import GRPC, HTTP, Endpoint, endpoints_of
from podium.router.routing import Routing, RoutingError

KEY: Final = "routing.json"
"""Of a ConfigMap's data."""
SUFFIX: Final = "-router"
"""The ConfigMap of the ModelDeployment `fraud` is called `fraud-router`. A copy under another name moves nothing."""
OWNER_GROUP, OWNER_KIND = "podium.dev/", "ModelDeployment"
LOST: Final = "no ModelDeployment of its name controls it any more; what it said before is in force"
SERVICE_LABEL: Final = "kubernetes.io/service-name"

Object = Mapping[str, Any]


@dataclass
class State:
    """Goes from list to list; a ConfigMap that cannot be used leaves what was good before it."""

    routings: dict[str, tuple[str, Routing]] = field(default_factory=dict)
    """By ConfigMap: the text that was understood last, and what it says."""
    refused: dict[str, str] = field(default_factory=dict)
    """By ConfigMap: why its present text is not used."""
    foreign: frozenset[str] = frozenset()
    """ConfigMaps with our label that no ModelDeployment of their name controls: nothing is taken from them."""

    @classmethod
    def remembered(cls, texts: Mapping[str, str]) -> Self:
        """What an earlier agent of this router understood last, by ConfigMap; what this one would not is left out."""
        state = cls()
        state._read(texts)
        state.refused = {}
        return state

    def texts(self) -> dict[str, str]:
        """By ConfigMap the text that was understood last: what `remembered` takes."""
        return {name: text for name, (text, _) in self.routings.items()}

    def missing(self) -> list[str]:
        """Why a ModelDeployment's listener is not known at all, a sentence each: such a router can replace no other."""
        return [why for name, why in self.refused.items() if name.endswith(SUFFIX) and name not in self.routings]

    def take(self, config_maps: Iterable[Object]) -> None:
        """All ConfigMaps of the routers, as they are now."""
        found = {each["metadata"]["name"]: each for each in config_maps}
        foreign = {name for name, each in found.items() if not _is_ours(name, each)}
        # One that was ours serves on as it was: whoever takes its owner away takes nothing from its callers.
        texts = {name: (found[name].get("data") or {}).get(KEY, "") for name in found.keys() - foreign}
        self._read(texts, foreign & self.routings.keys())
        self.foreign = frozenset(foreign)

    def _read(self, texts: Mapping[str, str], lost: Collection[str] = ()) -> None:
        self.routings = {name: known for name, known in self.routings.items() if name in texts or name in lost}
        self.refused = {name: f"ConfigMap {name}: {LOST}" for name in lost}
        for name, text in sorted(texts.items()):
            known = self.routings.get(name)
            if known is not None and known[0] == text:
                continue
            try:
                routing = Routing.read(text)
                self._apart(name, routing)
            except RoutingError as error:
                self.refused[name] = f"ConfigMap {name}, {KEY}: {error}"
            else:
                self.routings[name] = (text, routing)

    def _apart(self, name: str, routing: Routing) -> None:
        """Two listeners on one port would answer each other's callers; two of one name are one to Envoy."""
        if name != f"{routing.model}{SUFFIX}":
            raise RoutingError(f"model {routing.model} is told of in ConfigMap {routing.model}{SUFFIX} alone")
        for other, (_, known) in self.routings.items():
            if other == name:
                continue
            if known.port == routing.port:
                raise RoutingError(f"port {routing.port} is that of ConfigMap {other} already")

    def wanted(self) -> list[Routing]:
        """In the order of the ModelDeployments' names."""
        return sorted((routing for _, routing in self.routings.values()), key=lambda routing: routing.model)


def _is_ours(name: str, config_map: Object) -> bool:
    """Whether the operator may have written it: for the ModelDeployment that it is named after."""
    return any(
        each.get("controller") is True
        and each.get("kind") == OWNER_KIND
        and str(each.get("apiVersion")).startswith(OWNER_GROUP)
        and f"{each.get('name')}{SUFFIX}" == name
        for each in config_map["metadata"].get("ownerReferences") or []
    )


def pods_of(routings: Iterable[Routing], slices: Iterable[Object]) -> dict[tuple[str, str], tuple[Endpoint, ...]]:
    """By revision and port, for every revision that a routing names; `grpc` only where its Service has such a port."""
    by_service: dict[str, list[Object]] = {}
    for piece in slices:
        by_service.setdefault((piece["metadata"].get("labels") or {}).get(SERVICE_LABEL, ""), []).append(piece)
    found: dict[tuple[str, str], tuple[Endpoint, ...]] = {}
    for routing in routings:
        for share in routing.split:
            pieces = by_service.get(share.revision, [])
            found[share.revision, HTTP] = endpoints_of(pieces, HTTP)
            if any(port.get("name") == GRPC for piece in pieces for port in piece.get("ports") or []):
                found[share.revision, GRPC] = endpoints_of(pieces, GRPC)
    return found
