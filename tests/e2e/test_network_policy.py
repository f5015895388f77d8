"""What a namespace's NetworkPolicies may keep from what: routers from pods, callers and the operator from routers, and
routers from the API server. Where Podium can see it a condition says so, and the champion serves on. The operator's own
way out is what the chart's policy opens, and no more.

The namespaces deny all that no policy lets in. What lets in whom routers need are the policies of docs/traffic.md, as
they are shown there. kube-router enforces them (tests/cluster/policies.py), as long as a scene lasts. The load comes
from outside the cluster, as from a load balancer, and is always let in; other callers are pods.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from podium.api import names
from podium.router.places import PORT
from tests import stage as s
from tests.canaries import Parts, command, ready_routers, until_routed, until_weight
from tests.client import Object, condition, wait
from tests.cluster import podium
from tests.cluster.cache import REPOSITORY
from tests.cluster.cluster import Cluster
from tests.cluster.node import PAUSE
from tests.cluster.policies import enforced
from tests.cluster.progress import ClusterError, run
from tests.cluster.slot import Slot
from tests.e2e.ground import helm, operator_pods, processes, require_host, until_condition
from tests.e2e.test_rollouts import QUICK
from tests.e2e.world import World, scene
from tests.load import Counts

NAME = "digits"
ROUTERS, MODELS = "podium-router", "models-from-routers"
"""Policies of docs/traffic.md."""
TO_MODELS = "routers-to-models-alone"
CALLERS, OPERATOR, API = "callers to routers", "operator to routers", "routers to the API server"
SHOP, STRANGER = "shop", "stranger"
"""Pods that call: one that the policies name, and another one."""


@dataclass
class Denied:
    """What was seen while the policies that routers need came one by one, and afterwards."""

    told: dict[str, Object] = field(default_factory=dict)
    """The condition: without any of them, and once what is missing is the way to the pods."""
    selector: Object = field(default_factory=dict)
    """Of the stable Service, then."""
    status: Object = field(default_factory=dict)
    """Of the ModelDeployment, then."""
    after: Object = field(default_factory=dict)
    """The ModelDeployment, once there were all."""
    counts: Counts = field(default_factory=Counts)


def policy(name: str, pods: Object, **spec: Any) -> Object:
    """A NetworkPolicy for these pods."""
    spec = {"podSelector": pods, "policyTypes": ["Ingress"], **spec}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}


def documented(name: str) -> Object:
    """The NetworkPolicy of this name, as docs/traffic.md shows it."""
    shown = re.findall(r"^```yaml\n(.*?)^```$", (REPOSITORY / "docs/traffic.md").read_text(), re.DOTALL | re.MULTILINE)
    found = [obj for text in shown for obj in yaml.safe_load_all(text)]
    return next(obj for obj in found if (obj["kind"], obj["metadata"]["name"]) == ("NetworkPolicy", name))


def without(found: Object, port: int) -> Object:
    """The policy without the rule that opens this port."""
    rules = found["spec"]["ingress"]
    kept = [rule for rule in rules if port not in [each["port"] for each in rule["ports"]]]
    assert len(kept) == len(rules) - 1
    return found | {"spec": found["spec"] | {"ingress": kept}}


def denying(slot: Slot) -> list[Object]:
    """What denies by default, after what lets in the load: no moment is between them in which it is kept out."""
    load = policy("load-from-outside", {}, ingress=[{"from": [{"ipBlock": {"cidr": f"{slot.host}/32"}}]}])
    return [load, policy("default-deny", {})]


def fresh(world: World, namespace: str) -> s.Stage:
    """A namespace without policies: on a cluster that is kept, those of the run before are still there."""
    require_host(world.cluster)
    stage = world.stage(namespace)
    world.cluster.kubectl(f"--namespace={namespace}", "delete", "networkpolicy", "--all")
    return stage


def put(stage: s.Stage, *policies: Object) -> None:
    """Applies policies, one after the other."""
    listed = {"apiVersion": "v1", "kind": "List", "items": policies}
    stage.cluster.kubectl(f"--namespace={stage.namespace}", "apply", "-f", "-", stdin=json.dumps(listed))


def caller(stage: s.Stage, app: str) -> str:
    """A pod that does nothing by itself, and is labelled `app`; its name, which no other namespace's pod has."""
    name = f"{stage.namespace}-{app}"
    own = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    spec: Object = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "automountServiceAccountToken": False,
        "containers": [{"name": "caller", "image": PAUSE, "securityContext": own}],
    }
    stage.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": app}}, "spec": spec})
    wait(f"the pod {name} runs", lambda: bool(processes(name)), s.SLOW_START)
    return name


def answered(pod: str, url: str) -> bool:
    """Whether a request over a new connection from a pod's network is answered with 200."""
    inside = ["nsenter", f"--net=/proc/{processes(pod)[0]}/ns/net"]
    try:
        run([*inside, "curl", "--silent", "--fail", "--insecure", "--max-time", "5", url])
    except ClusterError:
        return False
    return True


def live(stage: s.Stage) -> str:
    """The URL at which the model says that it is live, to callers of its Service."""
    return f"{stage.address(NAME)}/v2/health/live"


@scene
def denied(world: World) -> Denied:
    """`router: Envoy` in a namespace that denies by default; then it gets the policies that routers need."""
    stage, seen = fresh(world, "e2e-denied"), Denied()
    stage.apply(s.onnx(NAME, "1", replicas=1, rollout=QUICK))
    shop = caller(stage, SHOP)
    stage.until_ready(NAME, "1")

    def selector() -> Object:
        return dict(stage.client.get("Service", stage.namespace, NAME)["spec"]["selector"])

    with world.load_turn, enforced(world.cluster), stage.load(NAME, world.digits.questions()) as load:
        load.await_answers()
        assert answered(shop, live(stage))
        put(stage, *denying(world.cluster.slot))
        wait("nobody is let in who is not named", lambda: not answered(shop, live(stage)), 30)

        stage.apply(s.onnx(NAME, "1", replicas=1, rollout=QUICK, traffic={"router": "Envoy"}))
        seen.told["none of them"] = until_condition(stage, NAME, "RouterUnreachable", f"port {PORT}", seconds=120)
        put(stage, documented(ROUTERS))
        seen.told[ROUTERS] = until_condition(stage, NAME, "RouterUnreachable", "does not reach any pod", seconds=120)
        seen.selector, seen.status = selector(), stage.get(NAME)["status"]
        put(stage, documented(MODELS))
        wait("the Service leads to the routers", lambda: selector() == names.router_selector(), s.SLOW_START)
        wait("whom the policies name is let in", lambda: answered(shop, live(stage)), 30)
        load.await_answers(200)
        seen.after, seen.counts = stage.until_ready(NAME, "1"), load.close()
    return seen


@contextmanager
def confined(cluster: Cluster) -> Iterator[None]:
    """Meanwhile the operator's namespace denies all, in and out, but what the chart's own NetworkPolicy opens."""
    only = ("--set=networkPolicy.enabled=true", "--show-only=templates/networkpolicy.yaml")
    rendered = helm(cluster, "template", podium.RELEASE, podium.CHART, f"--namespace={podium.NAMESPACE}", *only)
    own, denied = yaml.safe_load(rendered), policy("default-deny", {}, policyTypes=["Ingress", "Egress"])
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": [own, denied]})
    cluster.kubectl(f"--namespace={podium.NAMESPACE}", "apply", "-f", "-", stdin=listed)
    try:
        yield
    finally:
        cluster.kubectl(f"--namespace={podium.NAMESPACE}", "delete", "-f", "-", stdin=listed)


def counted(obj: Object) -> bool:
    """Whether the candidate's requests were counted, at the routers, for each metric of its rollout."""
    metrics = obj["status"]["rollout"].get("metrics") or []
    return bool(metrics) and all((each.get("candidate") or {}).get("n") for each in metrics)


def close_api_server(stage: s.Stage, slot: Slot) -> None:
    """Routers may connect to pods of models and to nobody else, and what they have open to the API server ends."""
    there = {pod["metadata"]["name"]: str(pod["status"]["podIP"]) for pod in ready_routers(stage)}
    url = f"https://{slot.node}:6443/livez"
    assert all(answered(name, url) for name in there)
    models = {"matchExpressions": [{"key": names.LABEL_MODEL, "operator": "Exists"}]}
    egress = {"policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": models}]}]}
    put(stage, policy(TO_MODELS, {"matchLabels": names.router_selector()}, **egress))
    wait("no router gets through to the API server", lambda: not any(answered(name, url) for name in there), 30)
    # A policy is about new connections here, as with many network plugins; the routers' watches last for minutes.
    for address in there.values():
        run(slot.inside("ss", "--kill", "dst", address, "sport", "=", ":6443"))


@dataclass
class CutOff:
    """What was seen while one way at a time was closed, and afterwards."""

    told: dict[str, Object] = field(default_factory=dict)
    """The condition, by the way that is closed."""
    status: dict[str, Object] = field(default_factory=dict)
    """Of the ModelDeployment, by the same."""
    parts: dict[str, Counts] = field(default_factory=dict)
    asked: dict[str, dict[str, bool]] = field(default_factory=dict)
    """Who of the callers was answered: before, while their way was closed, and once it was open again."""
    operator: dict[str, bool] = field(default_factory=dict)
    """What its pods reach over a new connection."""
    rollout: Object = field(default_factory=dict)
    """Of version 2's status, once its requests were counted."""
    revisions: dict[str, str] = field(default_factory=dict)
    """By version, of the rollouts in their order."""
    kept: int = 0
    """Ready pods of version 1 while the routers did not say whether they still send requests there."""


@scene
def cut_off(world: World) -> CutOff:
    """A canary while callers are kept from the routers, its promotion while the operator is; another while the routers
    are kept from the API server.
    """
    stage, seen, slot = fresh(world, "e2e-cut"), CutOff(), world.cluster.slot
    put(stage, *denying(slot), documented(ROUTERS), documented(MODELS))
    steps = [{"weight": 50}, {"pause": True}]
    rollout = {"strategy": "Canary", "steps": steps, "minReadySeconds": 1, "scaleDownDelay": "0s"}
    routed: Object = {"replicas": 1, "rollout": rollout, "traffic": {"router": "Envoy"}}
    stage.apply(s.onnx(NAME, "1", **routed))
    callers = {app: caller(stage, app) for app in (SHOP, STRANGER)}
    champion = stage.until_ready(NAME, "1")["status"]["champion"]["revision"]
    until_routed(stage, NAME)
    wait("two routers", lambda: len(ready_routers(stage)) == 2, s.SLOW_START)

    def ask() -> dict[str, bool]:
        return {app: answered(pod, live(stage)) for app, pod in callers.items()}

    wait("everybody is answered as long as no policy holds", lambda: all(ask().values()), 30)
    replicas = [str(pod["metadata"]["name"]) for pod in operator_pods(stage)]

    def reached(url: str) -> bool:
        return all(answered(pod, url) for pod in replicas)

    with (
        world.load_turn,
        confined(world.cluster),
        enforced(world.cluster),
        stage.load(NAME, world.digits.questions()) as load,
    ):
        parts = Parts(load, seen.parts)
        seen.asked["before"] = ask()
        wait("the operator calls no model", lambda: not any(answered(pod, live(stage)) for pod in replicas), 30)
        seen.operator = {API: reached(f"https://{slot.node}:6443/livez")}
        put(stage, without(documented(ROUTERS), 20_000))
        wait("no pod may call", lambda: not answered(callers[SHOP], live(stage)), 30)
        stage.apply(s.onnx(NAME, "2", **routed))
        seen.revisions["2"] = until_weight(stage, NAME, "2", 50)
        seen.rollout = stage.until(NAME, "what its requests came to", counted, 60)["status"]["rollout"]
        seen.asked[CALLERS] = ask()
        seen.status[CALLERS] = stage.get(NAME)["status"]
        parts.end(CALLERS)

        put(stage, without(documented(ROUTERS), PORT))
        wait("the shop may call again", lambda: answered(callers[SHOP], live(stage)), 30)
        command(stage, NAME, "promote", seen.revisions["2"])
        seen.told[OPERATOR] = until_condition(stage, NAME, "RouterUnreachable", str(PORT))
        parts.end(OPERATOR)
        seen.status[OPERATOR] = stage.get(NAME)["status"]
        seen.kept = int(stage.client.get("Deployment", stage.namespace, champion)["status"].get("readyReplicas", 0))
        put(stage, documented(ROUTERS))
        stage.until_ready(NAME, "2")
        seen.asked["promoted"] = ask()
        parts.end("promoted")

        close_api_server(stage, slot)
        stage.apply(s.onnx(NAME, "1", **routed))
        seen.told[API] = until_condition(stage, NAME, "RouterUnreachable", "has not loaded ConfigMap")
        parts.end(API)
        seen.status[API] = stage.get(NAME)["status"]
        stage.cluster.kubectl(f"--namespace={stage.namespace}", "delete", "networkpolicy", TO_MODELS)
        seen.revisions["1"] = until_weight(stage, NAME, "1", 50)
        parts.end("at 50 %")
    assert champion != seen.revisions["2"]
    return seen


def test_the_condition_names_the_router_the_revision_and_the_way_out(denied: Denied) -> None:
    told = denied.told[ROUTERS]["message"]

    assert "NetworkPolicies" in told
    assert denied.status["champion"]["revision"] in told
    assert "podium-router-" in told


def test_before_any_of_the_policies_it_names_the_port_at_which_the_operator_is_kept_out(denied: Denied) -> None:
    assert f"does not answer the operator at port {PORT}" in denied.told["none of them"]["message"]


def test_the_service_goes_on_leading_to_the_pods_until_they_can_be_reached(denied: Denied) -> None:
    assert denied.selector[names.LABEL_MODEL] == NAME
    assert condition({"status": denied.status}, "Available")["status"] == "True"
    assert not condition(denied.after, "RouterUnreachable")


def test_nobody_who_calls_notices(denied: Denied) -> None:
    assert not denied.counts.failed, str(denied.counts)


def test_the_charts_own_policy_lets_the_operator_do_all_that_it_has_to(cut_off: CutOff) -> None:
    assert cut_off.operator == {API: True}
    assert all(metric["candidate"]["n"] for metric in cut_off.rollout["metrics"])


def test_the_policies_of_the_docs_let_in_whom_they_name_and_nobody_else(cut_off: CutOff) -> None:
    assert cut_off.asked["before"] == cut_off.asked["promoted"] == {SHOP: True, STRANGER: False}


def test_a_caller_that_may_not_reach_the_routers_is_not_answered_and_Podium_cannot_see_it(cut_off: CutOff) -> None:
    assert cut_off.asked[CALLERS] == {SHOP: False, STRANGER: False}
    assert not condition({"status": cut_off.status[CALLERS]}, "RouterUnreachable")
    assert condition({"status": cut_off.status[CALLERS]}, "Available")["status"] == "True"


def test_an_operator_that_may_not_ask_the_routers_says_which_does_not_answer_at_which_port(cut_off: CutOff) -> None:
    assert "podium-router-" in cut_off.told[OPERATOR]["message"]
    assert f"port {PORT}" in cut_off.told[OPERATOR]["message"]
    assert "NetworkPolicy" in cut_off.told[OPERATOR]["message"]


def test_without_their_answer_nobody_loses_the_pods_that_may_still_be_asked(cut_off: CutOff) -> None:
    status = cut_off.status[OPERATOR]

    # A person's promotion is recorded; who was champion keeps its pods until every router has confirmed.
    assert status["champion"]["revision"] == cut_off.revisions["2"]
    assert condition({"status": status}, "Ready")["status"] == "False"
    assert condition({"status": status}, "Available")["status"] == "True"
    assert cut_off.kept == 1


def test_routers_that_may_not_reach_the_API_server_serve_the_champion_on(cut_off: CutOff) -> None:
    assert "podium-router-" in cut_off.told[API]["message"]
    assert cut_off.status[API]["champion"]["revision"] == cut_off.revisions["2"]
    assert list(cut_off.parts[API].revisions) == [cut_off.revisions["2"]]


def test_no_caller_who_is_let_through_notices_any_of_it(cut_off: CutOff) -> None:
    assert list(cut_off.parts) == [CALLERS, OPERATOR, "promoted", API, "at 50 %"]
    for name, counts in cut_off.parts.items():
        assert not counts.failed, f"{name}: {counts}"
