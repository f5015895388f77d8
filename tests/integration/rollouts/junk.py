"""Objects that nobody would write and the API server takes: of every watched kind, with Podium's labels.

What comes out follows from the seed alone. An object is (kind, JSON, status or None): the JSON are bytes, for what
is wrong with some cannot be said by a JSON library. Not all are taken; `create` answers how many of each kind were.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from podium.analysis.ledger import digest
from podium.api import names
from podium.manifests import ledger as ledgers
from podium.router import state as routers
from tests.integration.rollouts.api import Api, Object, Refusal, path_of
from tests.integration.rollouts.junk_texts import LEDGER, LONG, RAW, ROUTING, TEXTS, VALUES, spoilt

ANNOTATIONS: Final = (
    "rollout", "outcome", "rule", "cause", "decided-at", "command", "version", "restart", "applied", "replicas",
    "adopt", "inputs", "ledger", "unused-since", "installation", "past-router", "builtin", "from-the-future",
)  # fmt: skip
DATA: Final = ("hash", "inputs", "version", "runtime", "protocol", "ports", "template", "ledger")
NOT_YET: Final = "9999-12-31T23:59:59Z"


@dataclass(frozen=True)
class Junk:
    """One object to be written, and the status that is written to it then."""

    kind: str
    text: bytes
    status: Object | None = None


class Maker:
    """Makes junk about ModelDeployments of a namespace.

    `victims` (name to uid) may get anything, children of their own included; to `others` (names) nothing belongs but by
    its labels. `stranger` is an object of the namespace that has nothing to do with Podium.
    """

    def __init__(
        self, seed: int, namespace: str, victims: dict[str, str], others: Sequence[str], stranger: Object
    ) -> None:
        self._random = random.Random(seed)
        meta = stranger["metadata"]
        self._stranger = {key: stranger[key] for key in ("apiVersion", "kind")} | {
            key: meta[key] for key in ("name", "uid")
        }
        self._namespace = namespace
        self._victims = victims
        self._others = list(others)
        self._count = 0
        self._named: set[str] = set()

    def all(self, rounds: int) -> Iterator[Junk]:
        """What says that it is the routers', first by their very name; then so many rounds, each with every kind."""
        for make in 2 * (self._deployment, self._hpa, self._budget, self._service, self._config_map, self._pod):
            yield make(self._routers())
        for _ in range(rounds):
            yield from (self._revision(json.dumps(self._data()).encode()) for _ in range(3))
            yield self._revision(self._pick(RAW))
            yield self._deployment()
            yield self._service()
            yield self._hpa()
            yield self._budget()
            yield self._pod()
            yield self._pod(self._routers())
            yield self._slice()
            yield from (self._config_map() for _ in range(4))
            yield self._model_deployment()
            yield self._runtime()
        yield from (self._revision(raw) for raw in RAW)

    def _pick(self, among: Sequence[Any]) -> Any:
        return among[self._random.randrange(len(among))]

    def _text(self) -> str:
        return str(self._pick(TEXTS))

    def _name(self) -> str:
        self._count += 1
        return f"junk-{self._count}"

    def _meta(self, *, among: Sequence[str] = ()) -> Object:
        """Labels of some ModelDeployment, annotations of any content, and, often, somebody else as its owner."""
        model = self._pick(list(among) or [*self._victims, *self._others, "nobody", names.ROUTER])
        labels = {"podium.dev/model": model, "podium.dev/revision": self._pick([model, f"{model}-bcdfghjklm", "x"])}
        if model == names.ROUTER:
            labels |= self._pick([{}, names.router_labels()])
        owners: list[Object] = []
        choice = self._random.random()
        if model in self._victims:
            labels |= {"app.kubernetes.io/managed-by": "podium"} if choice < 0.8 else {}
            owners = [owner("ModelDeployment", model, self._victims[model])] if choice < 0.6 else []
        if self._random.random() < (0.2 if model in self._victims else 0.7):
            # One that is not there would be the garbage collector's reason to take the junk away at once.
            owners = [{**self._stranger, "controller": self._random.random() < 0.8}]
        annotations = {f"podium.dev/{self._pick(ANNOTATIONS)}": self._text() for _ in range(self._random.randrange(6))}
        if model not in self._victims:
            annotations.pop("podium.dev/applied", None)
            annotations.pop("podium.dev/inputs", None)
        meta: Object = {
            "name": self._name(),
            "namespace": self._namespace,
            "labels": labels,
            "annotations": annotations,
        }
        return meta | ({"ownerReferences": owners} if owners else {})

    def _routers(self) -> Object:
        """Metadata of an object that says it is one of a namespace's routers."""
        meta = self._meta(among=[names.ROUTER])
        meta["labels"] |= names.router_labels()
        return meta | {"name": self._once(names.ROUTER)}

    def _once(self, name: str) -> str:
        """That name the first time, and another one afterwards."""
        if name in self._named:
            return self._name()
        self._named.add(name)
        return name

    def _data(self) -> Object:
        data = {key: self._pick([self._pick(VALUES), self._text()]) for key in DATA if self._random.random() < 0.8}
        if self._random.random() < 0.3:
            data |= {
                "hash": "h",
                "inputs": {},
                "version": "",
                "runtime": "",
                "protocol": "",
                "ports": {},
                "template": {},
            }
        return data

    def _revision(self, data: bytes) -> Junk:
        obj = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": self._meta()}
        text = json.dumps(obj | {"revision": self._pick([0, 1, 7, 2**63 - 1])}).encode()
        return Junk("ControllerRevision", text[:-1] + b', "data": ' + data + b"}")

    def _deployment(self, meta: Object | None = None) -> Junk:
        labels = {"app": self._name()}
        env = [{"name": "A", "value": self._text().replace("\u0000", "")}]
        pod = {"containers": [{"name": "a", "image": "\u202e", "env": env}]}
        spec = {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
            "minReadySeconds": self._pick([0, 2**31 - 2]),
            "progressDeadlineSeconds": 2**31 - 1,
            "paused": self._pick([True, False]),
        }
        status = {
            "observedGeneration": self._pick([0, 2**62]),
            "replicas": 2**31 - 1,
            "readyReplicas": 2**31 - 1,
            "availableReplicas": self._pick([0, 2**31 - 1]),
            "conditions": [{"type": "ReplicaFailure", "status": "Perhaps", "message": self._text()}],
        }
        return self._junk("Deployment", "apps/v1", meta=meta, spec=spec, status=status)

    def _service(self, meta: Object | None = None) -> Junk:
        spec = self._pick(
            [
                {"type": "ExternalName", "externalName": "example.invalid"},
                {"clusterIP": "None", "ports": [{"port": 1}]},
                {"selector": {"podium.dev/model": "nobody"}, "ports": [{"port": 65535, "targetPort": "x"}]},
            ]
        )
        return self._junk("Service", "v1", meta=meta, spec=spec)

    def _config_map(self, meta: Object | None = None) -> Junk:
        """What routers are told, or a ledger, by its label; its content may be either's, or nothing's."""
        meta = meta or self._meta()
        model, label = meta["labels"]["podium.dev/model"], self._pick([names.ROUTING, names.LEDGER])
        meta["labels"][names.LABEL_ROUTER] = label
        likely = {names.ROUTING: names.routing_name(model), names.LEDGER: names.ledger_name(f"{model}-bcdfghjklm")}
        meta["name"] = self._once(self._pick([*likely.values(), f"{meta['name']}-router", f"{meta['name']}-ledger"]))
        text = self._pick([spoilt(ROUTING, self._random), spoilt(LEDGER, self._random), self._pick(LONG), self._text()])
        if self._random.random() < 0.5:
            meta["annotations"][names.ANNOTATION_LEDGER] = digest(text)
        data = self._pick([{routers.KEY: text}, {ledgers.KEY: text}, {routers.KEY: text, "x": ""}, {}, None])
        return self._junk("ConfigMap", "v1", meta=meta, data=data, binaryData=self._pick([None, {"b": "AA=="}]))

    def _hpa(self, meta: Object | None = None) -> Junk:
        target = {"apiVersion": "x/v9", "kind": "Thing", "name": "thing"}
        metric = {
            "type": "Resource",
            "resource": {"name": "x", "target": {"type": "AverageValue", "averageValue": "1E"}},
        }
        spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 2**31 - 1, "metrics": [metric]}
        condition = {"type": "ScalingActive", "status": "Unknown", "message": self._text()}
        return self._junk(
            "HorizontalPodAutoscaler",
            "autoscaling/v2",
            meta=meta,
            spec=spec,
            status={"desiredReplicas": 2**31 - 1, "currentReplicas": 0, "conditions": [condition]},
        )

    def _budget(self, meta: Object | None = None) -> Junk:
        spec = {"maxUnavailable": "100%", "selector": {}}
        return self._junk("PodDisruptionBudget", "policy/v1", meta=meta, spec=spec)

    def _pod(self, meta: Object | None = None) -> Junk:
        spec = {
            "containers": [{"name": f"c{number}", "image": "\u202e"} for number in range(self._pick([1, 100]))],
            "nodeName": "nowhere",
            "terminationGracePeriodSeconds": self._pick([0, 2**62]),
            "readinessGates": [{"conditionType": "x/y"}],
        }
        ended = {"exitCode": -1, "reason": self._text(), "message": self._pick(['{"permanent": 7}', self._text()])}
        state = self._pick([{}, {"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": ended}])
        container = {"name": self._pick(["c0", "fetch", "x"]), "image": "", "imageID": "", "ready": True}
        container |= {"restartCount": self._pick([-3, 2**31 - 1]), "state": state, "lastState": {"terminated": ended}}
        conditions = [
            {"type": kind, "status": self._pick(["True", "False", "Perhaps"]), "lastTransitionTime": when}
            for kind, when in (("Ready", NOT_YET), ("PodScheduled", None), ("PodReadyToStartContainers", NOT_YET))
        ]
        status = {
            "phase": self._pick(["Running", "Pending", "Weird", "Failed", ""]),
            "podIP": self._pick([None, "192.0.2.1", "2001:db8::1"]),
            "conditions": conditions,
            "containerStatuses": [container],
            "initContainerStatuses": [container],
        }
        meta = meta or self._meta(among=[*self._victims, "nobody"])
        return self._junk("Pod", "v1", meta=meta, spec=spec, status=status)

    def _slice(self) -> Junk:
        victim = self._pick(list(self._victims))
        endpoints = self._pick(
            [
                None,
                [{"addresses": ["a.invalid"], "conditions": {}}],
                [{"addresses": ["a.invalid"], "targetRef": {"kind": "Thing"}}] * 900,
            ]
        )
        meta = self._meta(among=[victim])
        meta["labels"]["kubernetes.io/service-name"] = victim
        return self._junk("EndpointSlice", "discovery.k8s.io/v1", meta=meta, addressType="FQDN", endpoints=endpoints)

    def _model_deployment(self) -> Junk:
        model: Object = {"uri": f"s3://{self._pick(['a', 'b'])}/{'x' * self._pick([1, 400])}", "format": "onnx"}
        spec: Object = {"model": model, "runtime": {"name": self._pick(["onnxruntime", "nothing"])}, "replicas": 0}
        meta = self._meta()
        meta.pop("ownerReferences", None)
        status = {"message": self._text(), "lastCommand": {"value": self._text()}, "observedGeneration": 2**60}
        return self._junk("ModelDeployment", "podium.dev/v1alpha1", meta=meta, spec=spec, status=status)

    def _runtime(self) -> Junk:
        probe = {"tcpSocket": {"port": 1}, "periodSeconds": 2**31 - 1}
        probes = {"startup": probe, "readiness": probe, "liveness": probe}
        spec = {"image": "\u202e", "protocol": "OIPv2", "layout": "Folder", "ports": {"http": 65535}, "probes": probes}
        meta = self._meta()
        meta = {
            "name": f"{self._namespace}-{meta['name']}",
            "labels": meta["labels"],
            "annotations": meta["annotations"],
        }
        return self._junk("ModelRuntime", "podium.dev/v1alpha1", meta=meta, spec=spec)

    def _junk(
        self,
        kind: str,
        version: str,
        *,
        meta: Object | None = None,
        status: Object | None = None,
        **content: Any,
    ) -> Junk:
        obj = {"apiVersion": version, "kind": kind, "metadata": meta or self._meta(), **content}
        return Junk(kind, json.dumps(obj).encode(), status)


def owner(kind: str, name: str, uid: str) -> Object:
    """A controller reference."""
    return {"apiVersion": "podium.dev/v1alpha1", "kind": kind, "name": name, "uid": uid, "controller": True}


async def create(api: Api, namespace: str, junk: Junk, taken: Counter[str]) -> str:
    """Write one; answers its name, or what the API server said against it. `taken` counts what it took, by kind."""
    try:
        made = await api.request("POST", path_of(junk.kind, namespace), junk.text)
    except Refusal as refusal:
        return f"{junk.kind}: {refusal}"
    name = str(made["metadata"]["name"])
    taken[junk.kind] += 1
    labels = made["metadata"].get("labels") or {}
    taken[f"labelled {labels.get(names.LABEL_ROUTER)}"] += 1
    taken[f"{junk.kind} of the routers"] += labels.get(names.LABEL_MODEL) == names.ROUTER
    if junk.status is not None:
        try:
            where = namespace if made["metadata"].get("namespace") else None
            await api.merge(junk.kind, where, name, {"status": junk.status}, subresource="status", manager="junk")
            taken[f"{junk.kind} with a status"] += 1
        except Refusal as refusal:
            return f"{junk.kind} {name}'s status: {refusal}"
    return name
