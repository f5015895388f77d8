"""Simulated routers of the namespace: they load what ConfigMaps tell them, and say so when they are asked."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import CONFIG_MAPS, PODS, SERVICES
from podium.manifests.routing import read_routing, told_in
from podium.router.agent import UNHEARD
from podium.router.routing import Routing, RoutingError
from podium.router.said import Said
from podium.router.state import LINGER_SECONDS
from tests.unit.planner.apiserver import ApiServer
from tests.unit.planner.controllers import is_ready


@dataclass
class Routers:
    """All of them, and the operator's view of them: `said` is what it last heard."""

    api: ApiServer
    namespace: str
    late: dict[str, float] = field(default_factory=dict)
    """Seconds from a change of a ConfigMap to its effect, by router pod; "" for all."""
    silent: set[str] = field(default_factory=set)
    """Router pods that do not answer the operator."""
    anew: set[str] = field(default_factory=set)
    """Router pods whose agent was started anew and cannot reach the API server: Envoy goes on with what it has."""
    cut_off: set[tuple[str, str]] = field(default_factory=set)
    """By router pod, "" for all, the revision whose pods it does not reach."""
    loaded: dict[str, dict[str, str]] = field(default_factory=dict)
    """By router pod and ConfigMap the text in force."""
    _gone: dict[str, dict[str, datetime]] = field(default_factory=dict)
    """By router pod and ConfigMap that is there no more: since when. What it said stays in force for a while."""
    _refused: dict[str, dict[str, str]] = field(default_factory=dict)
    _heard: dict[str, Said] = field(default_factory=dict)
    _made: int = 0
    _seen: int = 0
    """Events of ConfigMaps that `_changed` and `_texts` tell of."""
    _changed: dict[str, datetime] = field(default_factory=dict)
    """By ConfigMap when its text changed last."""
    _texts: dict[str, str] = field(default_factory=dict)

    def start(self, count: int = 2) -> list[str]:
        """So many more pods of Deployment podium-router; answers their names."""
        made = []
        for _ in range(count):
            self._made += 1
            name = f"{names.ROUTER}-{self._made}"
            labels = names.router_labels()
            meta = {"name": name, "namespace": self.namespace, "labels": labels}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {}, "status": {"phase": "Pending"}}
            self.api.create(pod, "kube-controller-manager")
            made.append(name)
        return made

    def stop(self, name: str) -> None:
        """The pod is gone at once."""
        self.api.purge((PODS, self.namespace, name))

    def said(self, namespace: str, pod: str) -> Said | None:
        """What the operator heard last."""
        return self._heard.get(pod)

    def act(self) -> bool:
        """Load what is due, and answer; whether the operator hears any news."""
        pods = {pod["metadata"]["name"]: pod for pod in self.pods()}
        for name in self.loaded.keys() - pods.keys():
            del self.loaded[name]
        for name, pod in pods.items():
            if pod["status"].get("phase") == "Running" and name not in self.anew:
                self._load(name)
        heard = {name: self._answer(name) for name in pods if name in self.loaded and name not in self.silent}
        news, self._heard = heard != self._heard, heard
        return news

    def pods(self) -> list[Object]:
        """As the API server has them."""
        return [pod for pod in self.api.all(PODS) if pod["metadata"]["labels"].get(names.LABEL_ROUTER) == names.ROUTER]

    def next_change(self) -> datetime | None:
        """When something that was told takes effect."""
        found = [
            at for pod in self.loaded for each, at in self._due(pod) if self._is_news(pod, each) and at > self.api.now()
        ]
        return min(found, default=None)

    def weights(self, model: str) -> list[dict[str, int]]:
        """By router pod what is in force for a ModelDeployment."""
        found = []
        for texts in self.loaded.values():
            told = read_routing(texts.get(names.routing_name(model), ""))
            found.append({share.revision: share.weight for share in told.split} if told else {})
        return found

    def _due(self, pod: str) -> list[tuple[Object, datetime]]:
        late = timedelta(seconds=self.late.get(pod, self.late.get("", 0.0)))
        stream = self.api.streams[CONFIG_MAPS]
        for event in stream[self._seen :]:
            name, text = event.obj["metadata"]["name"], told_in(event.obj)
            if event.type == "DELETED" or self._texts.get(name) != text:
                self._changed[name] = event.at
            self._texts[name] = "" if event.type == "DELETED" else text
        self._seen = len(stream)
        return [(each, self._changed[each["metadata"]["name"]] + late) for each in self.api.all(CONFIG_MAPS)]

    def _is_news(self, pod: str, config_map: Object) -> bool:
        return self.loaded[pod].get(config_map["metadata"]["name"]) != told_in(config_map)

    def _load(self, pod: str) -> None:
        texts, refused = self.loaded.setdefault(pod, {}), self._refused.setdefault(pod, {})
        there = {each["metadata"]["name"] for each in self.api.all(CONFIG_MAPS)}
        gone = self._gone.setdefault(pod, {})
        self._gone[pod] = {name: gone.get(name, self.api.now()) for name in texts.keys() - there}
        for name, since in self._gone[pod].items():
            if self.api.now() - since >= timedelta(seconds=LINGER_SECONDS):
                del texts[name]
        refused.clear()
        for each, at in self._due(pod):
            name, text = each["metadata"]["name"], told_in(each)
            if why := wrong_with(text):
                refused[name] = f"ConfigMap {name}: {why}"
                continue
            if at <= self.api.now():
                texts[name] = text

    def _answer(self, pod: str) -> Said:
        if pod in self.anew:
            return Said(applied=dict(self.loaded[pod]), problem=UNHEARD)
        ready = {p["metadata"]["labels"].get(names.LABEL_REVISION, "") for p in self.api.all(PODS) if is_ready(p)}
        told = [read_routing(text) for text in self.loaded[pod].values()]
        known = {share.revision for each in told if each for share in each.split}
        found = {service["metadata"]["name"] for service in self.api.all(SERVICES)}
        cut_off = {revision for router, revision in self.cut_off if router in ("", pod)}
        reached = (known & ready & found) - cut_off
        return Said(
            applied=dict(self.loaded[pod]),
            refused=dict(self._refused[pod]),
            reached=frozenset(reached),
            unreached=dict.fromkeys(known & ready & cut_off, "timed out"),
        )


@lru_cache
def wrong_with(text: str) -> str:
    """Why a router takes no such text; empty for one that it takes."""
    try:
        Routing.read(text)
    except RoutingError as error:
        return str(error)
    return ""
