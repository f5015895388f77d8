"""Simulated controllers: Deployment, ReplicaSet, kubelet, EndpointSlice, HorizontalPodAutoscaler, garbage collector.

Each acts once per step on what the API server holds, and reports what it saw before it acted, as the real ones do:
a Deployment's status is its ReplicaSet's of the step before, and that one's is from before its own scaling.
Left out: rollouts within one Deployment (Podium never changes a template), scheduling, what a dead node does to others.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import DEPLOYMENTS, HPAS, PODS, SERVICES
from podium.rollout.wire import others_time
from tests.unit.planner.apiserver import FOREGROUND, ApiServer, clone, wire_time

CRASH_PERIOD = 10.0
"""Seconds from one crash of a container to the next."""

INJECTED = "injected"
"""Name of an init container that an admission webhook adds to pods; whether it is a sidecar its spec says."""

DIED = (
    '{"result": "failed", "reason": "Died", "permanent": false, "message": "the server was ended from '
    'outside or by a fault of onnxruntime, while it ran the requests under `running`", '
    '"running": [null, {"id": "a", "inputs": {"x": [1, 0, 3]}}]}'
)
"""Last words of a server that a request ended."""

WRONG_BYTES = (
    '{"result": "failed", "reason": "ChecksumMismatch", "permanent": true, "message": "s3://models/fraud/2: sha256 '
    'differs from spec.model.sha256"}'
)
NO_ANSWER = (
    '{"result": "failed", "reason": "Timeout", "permanent": false, "message": "s3://models/fraud/2: no answer in 10 s"}'
)
"""Last words of a fetcher that gives up, and of one that tries again."""

MOST_RESTARTS = 6
"""No more are counted, so that a world with a crashing pod comes to rest."""


@dataclass(frozen=True)
class Behaviour:
    """What pods of one version do. Times are seconds after their creation."""

    ready_after: float | None = 3.0
    """None: never."""
    failure: str = ""
    """Not ready: crash, died, between-crashes, image, invalid-image, fetch-permanent, fetch-passing, config,
    unschedulable, volumes, and init of an injected container of that kind."""
    until: float | None = None
    """When the failure ends by itself."""
    died: tuple[float, str] | None = None
    """When, and with what last words, a signal ended the server of a pod that is ready again."""
    said: str = "ValueError: no such operator"
    """Last words of a server that crashes."""
    exit_code: int = 1
    """Of a server that crashes."""
    fetched: str = ""
    """What the fetcher's last words are, once the pod runs."""
    ends: tuple[float, ...] = ()
    """When the server ended, and was started again at once: the pod stays ready."""
    end: tuple[int, str] = (137, "OOMKilled")
    """Exit code and reason of those ends."""


@dataclass
class ReplicaSet:
    """Of one Deployment: what it was told, and what it last reported."""

    desired: int = 0
    min_ready: int = 0
    replicas: int = 0
    ready: int = 0
    available: int = 0
    failure: str = ""
    template: Any = None


@dataclass
class Controllers:
    """All of them, over one API server."""

    api: ApiServer
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    """By version; a pod's own name takes precedence."""
    refused: str = ""
    """Why no pod can be made: a quota, Pod Security, a webhook."""
    demand: dict[str, int] = field(default_factory=dict)
    """Pods that the load asks for, by Deployment; "" for all."""
    metrics_api: bool = True
    kubelet_ahead: float = 0.0
    """Seconds by which the nodes' clocks are ahead of everybody else's."""
    grace: float = 8.0
    """Seconds that a pod takes to stop: all of its grace."""
    dead: set[str] = field(default_factory=set)
    """Pods on nodes that are gone: nothing happens to them any more."""
    endpoints_frozen: bool = False
    """Whether the EndpointSlice controller has stopped working."""
    collecting: bool = True
    """Whether the garbage collector keeps up."""
    sets: dict[str, ReplicaSet] = field(default_factory=dict)
    _made: int = 0

    @property
    def now(self) -> datetime:
        return self.api.now()

    def act(self) -> None:
        """Each once."""
        if self.collecting:
            self.collect_garbage()
        self.scale()
        self.run_deployments()
        self.run_replica_sets()
        self.run_pods()
        if not self.endpoints_frozen:
            self.list_endpoints()

    # --- Deployment, ReplicaSet

    def run_deployments(self) -> None:
        for deployment in self.api.all(DEPLOYMENTS):
            if "deletionTimestamp" in deployment["metadata"]:
                continue
            owned = self.sets.setdefault(deployment["metadata"]["uid"], ReplicaSet())
            spec = deployment["spec"]
            owned.desired, owned.min_ready = spec["replicas"], spec.get("minReadySeconds", 0)
            owned.template = spec["template"]
            status: Object = {
                "observedGeneration": deployment["metadata"]["generation"],
                "replicas": owned.replicas,
                "readyReplicas": owned.ready,
                "availableReplicas": owned.available,
            }
            if owned.failure:
                condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
                status["conditions"] = [condition | {"message": owned.failure}]
            if status != deployment.get("status"):
                self._status(deployment, status)

    def run_replica_sets(self) -> None:
        for deployment in self.api.all(DEPLOYMENTS):
            owned = self.sets.get(deployment["metadata"]["uid"])
            if owned is None or "deletionTimestamp" in deployment["metadata"]:
                continue
            self._adopt_pods(deployment)
            pods = self.active_pods(deployment)
            owned.replicas = len(pods)
            owned.ready = sum(1 for pod in pods if is_ready(pod))
            owned.available = sum(1 for pod in pods if self.is_available(pod, owned.min_ready))
            owned.failure = self.refused if len(pods) < owned.desired else ""
            if not self.refused:
                for _ in range(owned.desired - len(pods)):
                    self._make_pod(deployment, owned)
            for pod in ranked(pods)[: max(0, len(pods) - owned.desired)]:
                self.stop(pod)

    def active_pods(self, deployment: Object) -> list[Object]:
        """Its pods that are neither terminating nor over (controller_utils.FilterActivePods)."""
        uid = deployment["metadata"]["uid"]
        return [
            pod
            for pod in self.api.all(PODS)
            if any(r["uid"] == uid for r in pod["metadata"].get("ownerReferences", []))
            and "deletionTimestamp" not in pod["metadata"]
            and not is_over(pod)
        ]

    def is_available(self, pod: Object, min_ready: float) -> bool:
        """Ready for so many seconds, as the ReplicaSet controller sees it: by its own clock and the kubelet's."""
        since = ready_since(pod)
        return since is not None and (not min_ready or self.now - since >= timedelta(seconds=min_ready))

    @property
    def _ahead(self) -> timedelta:
        return timedelta(seconds=self.kubelet_ahead)

    def _kubelets_time(self) -> str:
        return wire_time(self.now + self._ahead)

    def stop(self, pod: Object) -> None:
        """Begin a pod's deletion; it goes after its grace."""
        place = (PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
        self.api.mark_deleted(place, ["kubelet"], self.grace)

    def lose_the_node_of(self, pod: Object) -> None:
        """Nobody answers there any more: the pod is told to go, and nobody says that it has."""
        self.dead.add(pod["metadata"]["name"])
        unknown = [{"type": "Ready", "status": "Unknown", "lastTransitionTime": wire_time(self.now)}]
        self._status(pod, {**pod["status"], "conditions": unknown})
        self.stop(pod)

    def evict(
        self, pod: Object, message: str = "The node was low on resource: memory.", reason: str = "Evicted"
    ) -> None:
        """A node under pressure ends a pod; the object stays (PodGC keeps 12500 of them)."""
        ended = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": "could not be located"}
        container = {"name": names.MODEL_CONTAINER, "image": "serving", "ready": False, "restartCount": 0}
        status = {
            "phase": "Failed",
            "reason": reason,
            "message": message,
            "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": wire_time(self.now)}],
            "containerStatuses": [container | {"state": {"terminated": ended}}],
        }
        self._status(pod, status)

    def end(self, pod: Object, code: int = 137, reason: str = "OOMKilled") -> None:
        """The server of a pod that runs ends now, and is started again at once."""
        age = (self.now - others_time(pod["metadata"]["creationTimestamp"])).total_seconds()
        how = self.behaviour(pod)
        self.behaviours[pod["metadata"]["name"]] = replace(how, ends=(*how.ends, age), end=(code, reason))

    def _adopt_pods(self, deployment: Object) -> None:
        """Its ReplicaSet takes over pods without a controller that it selects: those that one of its kind has made.

        What the real one tells by the label pod-template-hash is told by the name here.
        """
        selector = deployment["spec"]["selector"]["matchLabels"]
        for pod in self.api.all(PODS):
            orphaned = not pod["metadata"].get("ownerReferences") and "deletionTimestamp" not in pod["metadata"]
            orphaned = orphaned and pod["metadata"]["name"].startswith(f"{deployment['metadata']['name']}-")
            if orphaned and selector.items() <= (pod["metadata"].get("labels") or {}).items():
                place = (PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
                reference = _replica_set(deployment["metadata"])
                self.api.update(
                    *place,
                    lambda obj, reference=reference: obj["metadata"].update(ownerReferences=[reference]),  # type: ignore[misc]
                    "kube-controller-manager",
                )

    def _make_pod(self, deployment: Object, owned: ReplicaSet) -> None:
        meta, template = deployment["metadata"], clone(owned.template)
        self._made += 1
        while self.api.get(PODS, meta["namespace"], f"{meta['name']}-{self._made:03}"):
            self._made += 1  # restored from a backup of another cluster
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                **template["metadata"],
                "name": f"{meta['name']}-{self._made:03}",
                "namespace": meta["namespace"],
                "ownerReferences": [_replica_set(meta)],
            },
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }
        self.api.create(pod, "kube-controller-manager")

    # --- kubelet

    def behaviour(self, pod: Object) -> Behaviour:
        """What this pod does."""
        version = (pod["metadata"].get("annotations") or {}).get(names.ANNOTATION_VERSION, "")
        return self.behaviours.get(pod["metadata"]["name"]) or self.behaviours.get(version) or Behaviour()

    def run_pods(self) -> None:
        for pod in self.api.all(PODS):
            meta = pod["metadata"]
            if meta["name"] in self.dead:
                continue
            if "deletionTimestamp" in meta:
                if self.now >= others_time(meta["deletionTimestamp"]):
                    self.api.purge((PODS, meta["namespace"], meta["name"]))
                continue
            if is_over(pod):
                continue
            status = self._pod_status(pod, self.behaviour(pod))
            if status != pod["status"]:
                self._status(pod, status)

    def _pod_status(self, pod: Object, how: Behaviour) -> Object:
        age = (self.now - others_time(pod["metadata"]["creationTimestamp"])).total_seconds()
        failing = bool(how.failure) and (how.until is None or age < how.until)
        if failing:
            status = _failing(pod, how, age, self._ahead)
        else:
            ready = how.ready_after is not None and age >= max(how.ready_after, how.until or 0.0)
            status = _running(pod, ready) | _fetched(how.fetched)
            ends = sum(1 for at in how.ends if age >= at)
            if ends:
                last = {"terminated": {"exitCode": how.end[0], "reason": how.end[1]}}
                status["containerStatuses"][0] |= {"restartCount": ends, "lastState": last}
            if how.died and age >= how.died[0]:
                at = others_time(pod["metadata"]["creationTimestamp"]) + timedelta(seconds=how.died[0]) + self._ahead
                status["containerStatuses"][0] |= {"restartCount": 1, "lastState": _by_signal(at, how.died[1])}
        was, is_now = ready_since(pod), is_ready({"status": status})
        for condition in status.get("conditions", []):
            if condition["type"] == "Ready":
                old = next((c for c in pod["status"].get("conditions", []) if c["type"] == "Ready"), None)
                same = old is not None and (was is not None) == is_now
                condition["lastTransitionTime"] = old["lastTransitionTime"] if same and old else self._kubelets_time()
        return status

    # --- EndpointSlice

    def list_endpoints(self) -> None:
        for service in self.api.all(SERVICES):
            selector = service["spec"].get("selector") or {}
            meta = service["metadata"]
            endpoints = [
                {
                    "addresses": ["10.1.0.1"],
                    "conditions": {"ready": is_ready(pod) and "deletionTimestamp" not in pod["metadata"]},
                    "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"]},
                }
                for pod in self.api.all(PODS)
                if selector and selector.items() <= pod["metadata"]["labels"].items()
                if pod["status"].get("phase") == "Running"
            ]
            reference = {"apiVersion": "v1", "kind": "Service", "name": meta["name"], "uid": meta["uid"]}
            piece = {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"{meta['name']}-slice",
                    "namespace": meta["namespace"],
                    "labels": {**(meta.get("labels") or {}), "kubernetes.io/service-name": meta["name"]},
                    "ownerReferences": [reference | {"controller": True}],
                },
                "endpoints": endpoints,
            }
            self.api.apply(piece, "endpointslice-controller")

    # --- HorizontalPodAutoscaler

    def scale(self) -> None:
        for hpa in self.api.all(HPAS):
            meta, spec = hpa["metadata"], hpa["spec"]
            target = self.api.get(DEPLOYMENTS, meta["namespace"], spec["scaleTargetRef"]["name"])
            if target is None or "deletionTimestamp" in target["metadata"]:
                continue
            condition = {"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound", "message": ""}
            if not self.metrics_api:
                condition |= {"status": "False", "reason": "FailedGetResourceMetric", "message": "no metrics API"}
            if {"conditions": [condition]} != hpa.get("status"):
                self._status(hpa, {"conditions": [condition]})
            current = target["spec"]["replicas"]
            if current == 0:
                continue
            wanted = self.demand.get(meta["name"], self.demand.get("", current)) if self.metrics_api else current
            disabled = spec.get("behavior", {}).get("scaleDown", {}).get("selectPolicy") == "Disabled"
            wanted = max(wanted, current) if disabled else wanted
            wanted = min(max(wanted, spec.get("minReplicas", 1)), spec["maxReplicas"])
            if wanted != current:
                self.api.update(
                    DEPLOYMENTS,
                    meta["namespace"],
                    target["metadata"]["name"],
                    lambda obj, wanted=wanted: obj["spec"].update(replicas=wanted),  # type: ignore[misc]
                    "kube-controller-manager",
                )

    # --- garbage collector

    def collect_garbage(self) -> None:
        uids = {obj["metadata"]["uid"] for obj in self.api.objects.values()}
        for place, obj in list(self.api.objects.items()):
            references = obj["metadata"].get("ownerReferences") or []
            if references and not any(r["uid"] in uids for r in references):
                if place[0] is PODS:
                    self.stop(obj)
                else:
                    self.api.purge(place)
        for place, obj in list(self.api.objects.items()):
            if FOREGROUND not in obj["metadata"].get("finalizers", []):
                continue
            children = [
                (where, child)
                for where, child in self.api.objects.items()
                if any(r["uid"] == obj["metadata"]["uid"] for r in child["metadata"].get("ownerReferences") or [])
            ]
            for where, child in children:
                if where[0] is PODS:
                    self.stop(child)
                elif where[0] is DEPLOYMENTS:
                    self.api.mark_deleted(where, [FOREGROUND])
                else:
                    self.api.purge(where)
            if not children:
                self.api.purge(place)

    def next_change(self) -> datetime | None:
        """When a pod changes though nobody does anything."""
        at: list[datetime] = []
        for deployment in self.api.all(DEPLOYMENTS):
            owned = self.sets.get(deployment["metadata"]["uid"], ReplicaSet())
            status = deployment.get("status") or {}
            counts = (status.get("replicas"), status.get("readyReplicas"), status.get("availableReplicas"))
            if counts != (owned.replicas, owned.ready, owned.available):
                at.append(self.now + timedelta(seconds=1))
        for pod in self.api.all(PODS):
            meta = pod["metadata"]
            if meta["name"] in self.dead:
                continue
            how, born = self.behaviour(pod), others_time(meta["creationTimestamp"])
            if "deletionTimestamp" in meta:
                at.append(others_time(meta["deletionTimestamp"]))
            if "deletionTimestamp" in meta or is_over(pod):
                continue
            at += [born + timedelta(seconds=s) for s in (how.ready_after, how.until) if s is not None]
            at += [born + timedelta(seconds=how.died[0])] if how.died else []
            at += [born + timedelta(seconds=s) for s in how.ends]
            if how.failure:
                at += [born + timedelta(seconds=CRASH_PERIOD * n) for n in range(1, MOST_RESTARTS + 1)]
            since = ready_since(pod)
            if since is not None and "ownerReferences" in meta:
                owned = self.sets.get(meta["ownerReferences"][0]["uid"], ReplicaSet())
                at.append(since + timedelta(seconds=owned.min_ready))
        return min((moment for moment in at if moment > self.now), default=None)

    def _status(self, obj: Object, status: Object) -> None:
        meta, kind = obj["metadata"], obj["kind"]
        resource = {"Deployment": DEPLOYMENTS, "Pod": PODS, "HorizontalPodAutoscaler": HPAS}[kind]
        self.api.update(resource, meta["namespace"], meta["name"], lambda o: o.update(status=status), "kubernetes")


def _replica_set(deployment: Object) -> Object:
    """The controller reference of a Deployment's pods."""
    name, uid = deployment["name"], deployment["uid"]
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{name}-1", "uid": uid, "controller": True}


def is_ready(pod: Object) -> bool:
    """Whether its Ready condition is True."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def is_over(pod: Object) -> bool:
    """Whether its containers have ended for good."""
    return pod["status"].get("phase") in ("Failed", "Succeeded")


def ready_since(pod: Object) -> datetime | None:
    """Since when it has been Ready."""
    found = (c for c in pod["status"].get("conditions", []) if c["type"] == "Ready" and c["status"] == "True")
    condition = next(found, None)
    return others_time(condition["lastTransitionTime"]) if condition else None


def ranked(pods: list[Object]) -> list[Object]:
    """In the order in which the ReplicaSet controller deletes (controller_utils.ActivePodsWithRanks).

    Pending before running, not Ready before Ready, Ready for a shorter time first, more restarts first, newer first.
    """

    def rank(pod: Object) -> tuple[bool, bool, float, int, float]:
        since = ready_since(pod)
        restarts = max((c.get("restartCount", 0) for c in pod["status"].get("containerStatuses", [])), default=0)
        born = others_time(pod["metadata"]["creationTimestamp"]).timestamp()
        return (
            pod["status"].get("phase") != "Pending",
            is_ready(pod),
            -(since.timestamp() if since else 0.0),
            -restarts,
            -born,
        )

    return sorted(pods, key=rank)


def _running(pod: Object, ready: bool) -> Object:
    container = {"name": names.MODEL_CONTAINER, "image": "serving", "ready": ready, "restartCount": 0}
    return {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": ""}],
        "containerStatuses": [container | {"state": {"running": {}}}],
    }


def _by_signal(at: datetime, said: str) -> Object:
    ended = {"exitCode": 134, "reason": "Error", "finishedAt": wire_time(at), "message": said}
    return {"terminated": ended}


def _fetched(said: str) -> Object:
    if not said:
        return {}
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "message": said}}
    fetch = {"name": names.FETCH_CONTAINER, "image": "serving", "ready": True, "restartCount": 0, "state": ended}
    return {"initContainerStatuses": [fetch]}


def _failing(pod: Object, how: Behaviour, age: float, ahead: timedelta) -> Object:
    """The status as kubelet or the scheduler writes it."""
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": ""}
    status: Object = {"phase": "Pending", "conditions": [ready]}
    restarts = min(int(age // CRASH_PERIOD), MOST_RESTARTS)
    model: Object = {"name": names.MODEL_CONTAINER, "image": "serving", "ready": False, "restartCount": 0}

    def waiting(reason: str, message: str) -> Object:
        return {"state": {"waiting": {"reason": reason, "message": message}}}

    ended = {"exitCode": how.exit_code, "reason": "Error", "message": how.said}
    match how.failure:
        case "crash":
            status["phase"] = "Running"
            state = waiting("CrashLoopBackOff", "back-off") if restarts else {"state": {"terminated": ended}}
            status["containerStatuses"] = [
                model | state | {"restartCount": restarts, "lastState": {"terminated": ended}}
            ]
        case "died":
            status["phase"] = "Running"
            born = others_time(pod["metadata"]["creationTimestamp"]) + ahead
            last = _by_signal(born + timedelta(seconds=restarts * CRASH_PERIOD), DIED)
            status["containerStatuses"] = [
                model | waiting("CrashLoopBackOff", "back-off") | {"restartCount": restarts, "lastState": last}
            ]
        case "init":
            injected = {"name": INJECTED, "image": "injected", "ready": False, "restartCount": restarts}
            state = waiting("CrashLoopBackOff", "back-off") if restarts else {"state": {"terminated": ended}}
            status["initContainerStatuses"] = [injected | state | {"lastState": {"terminated": ended}}]
        case "between-crashes":
            status["phase"] = "Running"
            state = {"state": {"running": {}}, "restartCount": restarts, "lastState": {"terminated": ended}}
            status["containerStatuses"] = [model | state]
        case "image":
            reason = "ErrImagePull" if restarts % 2 == 0 else "ImagePullBackOff"
            status["containerStatuses"] = [model | waiting(reason, "manifest unknown")]
        case "invalid-image":
            status["containerStatuses"] = [model | waiting("InvalidImageName", "invalid reference format")]
        case "config":
            status["containerStatuses"] = [model | waiting("CreateContainerConfigError", 'secret "s3" not found')]
        case "fetch-permanent" | "fetch-passing":
            said = NO_ANSWER if how.failure == "fetch-passing" else WRONG_BYTES
            fetch = {"name": names.FETCH_CONTAINER, "image": "serving", "ready": False, "restartCount": restarts}
            last = {"terminated": {"exitCode": 3, "reason": "Error", "message": said}}
            status["initContainerStatuses"] = [fetch | waiting("CrashLoopBackOff", "back-off") | {"lastState": last}]
        case "unschedulable":
            said = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
            status["conditions"] += [{"type": "PodScheduled", "status": "False", "message": said}]
        case "volumes":
            since = wire_time(others_time(pod["metadata"]["creationTimestamp"]) + ahead)
            waiting_for = {"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": since}
            status["conditions"] += [waiting_for]
            status["containerStatuses"] = [model | waiting("ContainerCreating", "")]
        case _:
            raise ValueError(how.failure)
    return status
