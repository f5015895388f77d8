"""`router: Envoy` against a real API server: its objects, its rights and its watches. The routers are played."""

import pytest_asyncio

from podium.api import names
from podium.router.state import KEY
from tests.integration.operator import Operator
from tests.integration.rollouts.api import MODEL_DEPLOYMENT, Object
from tests.integration.rollouts.routers import Router
from tests.integration.rollouts.stage import MODEL, SHORT, USER, Cluster, Stage, spec
from tests.invariants import Version

TOLD = names.routing_name(MODEL)
ENVOY = {"router": "Envoy"}


@pytest_asyncio.fixture(loop_scope="session")
async def router(stage: Stage) -> Router:
    """What stands in the place of the namespace's router pod."""
    return await stage.router()


async def test_a_ModelDeployment_is_led_through_routers_updated_there_and_led_away_again(
    stage: Stage, router: Router
) -> None:
    await stage.apply(spec("v1", traffic=ENVOY))
    await stage.until_ready("v1")
    await stage.until(lambda: stage.selector == names.router_selector(), "the Service leads to the routers")
    deployment = stage.get("Deployment", names.ROUTER)
    assert deployment is not None
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "podium/router:test"
    assert {"ownerReferences", names.LABEL_INSTANCE}.isdisjoint(
        deployment["metadata"].keys() | deployment["metadata"]["labels"].keys()
    )
    assert await stage.api.get("ServiceAccount", stage.namespace, names.ROUTER)
    assert stage.get("PodDisruptionBudget", names.ROUTER)
    assert stage.get("HorizontalPodAutoscaler", names.ROUTER)

    await stage.apply(spec("v2", traffic=ENVOY))
    await stage.until_ready("v2")
    await stage.until(lambda: stage.weights == {stage.revision("v2"): 10_000}, "all goes to v2")
    await stage.until(lambda: stage.get("Service", stage.revision("v1")) is None, "no Service of v1")

    blue_green = {"strategy": "BlueGreen", "scaleDownDelay": "1s"}
    await stage.apply(spec("v3", traffic=ENVOY, rollout=blue_green))
    await stage.until_ready("v3")
    await stage.until(lambda: stage.weights == {stage.revision("v3"): 10_000}, "all goes to v3")

    await stage.api.merge("ConfigMap", stage.namespace, TOLD, {"data": {KEY: "{}"}})
    await stage.until(lambda: stage.weights == {stage.revision("v3"): 10_000}, "nonsense is put back")

    await stage.apply(spec("v3", rollout=blue_green))
    await stage.until(
        lambda: stage.selector.get(names.LABEL_REVISION) == stage.revision("v3"), "the Service leads to the pods"
    )
    await stage.until_ready("v3")

    def stamped() -> bool:
        told = stage.get("ConfigMap", TOLD)
        return bool(told and told["metadata"]["annotations"].get(names.ANNOTATION_UNUSED_SINCE))

    await stage.until(stamped, "who is connected to a router is served on for a while")
    assert stage.weights == {stage.revision("v3"): 10_000}


async def test_no_weight_counts_before_the_router_says_so(stage: Stage, router: Router) -> None:
    rollout = {"strategy": "BlueGreen", "promotion": "Manual", "scaleDownDelay": "0s"}
    await stage.apply(spec("v1", traffic=ENVOY, rollout=rollout))
    await stage.until(lambda: stage.selector == names.router_selector(), "the Service leads to the routers")
    await stage.until_ready("v1")
    await stage.apply(spec("v2", traffic=ENVOY, rollout=rollout))
    await stage.until(lambda: stage.phase == "Paused", "that it waits for a person")
    router.stuck = True
    await stage.command("promote", stage.revision("v2"), "1")
    await stage.until(lambda: stage.outcome("v2") == "Promoted", "v2 is promoted")
    await stage.until(lambda: stage.weights.get(stage.revision("v2")) == 10_000, "the routers are told so")
    await stage.stays(lambda: stage.replicas("v1") == 2 and not stage.is_ready("v2"), "v1 keeps its pods")
    router.stuck = False
    await stage.until(lambda: not stage.replicas("v1"), "v1 may go")
    await stage.until_ready("v2")


async def test_no_BlueGreen_promotes_itself_before_the_router_has_reached_it(stage: Stage, router: Router) -> None:
    await stage.apply(spec("v1", traffic=ENVOY, rollout={"strategy": "BlueGreen"}))
    await stage.until(lambda: stage.selector == names.router_selector(), "the Service leads to the routers")
    await stage.until_ready("v1")
    router.stuck = True
    await stage.apply(spec("v2", traffic=ENVOY, rollout={"strategy": "BlueGreen"}))
    await stage.until(lambda: "waits until every router reaches it" in stage.status["message"], "v2 has all its pods")
    await stage.stays(lambda: stage.outcome("v2") != "Promoted", "v2 is not promoted")
    router.stuck = False
    await stage.until(lambda: stage.outcome("v2") == "Promoted", "v2 is promoted")
    await stage.until_ready("v2")


async def test_after_a_restart_nothing_is_written_but_what_is_not_watched(stage: Stage, router: Router) -> None:
    await stage.apply(spec("v1", traffic=ENVOY))
    await stage.until_ready("v1")
    await stage.until(lambda: stage.selector == names.router_selector(), "the Service leads to the routers")
    told, obj = stage.get("ConfigMap", TOLD), stage.obj
    stage.operator.kill()
    stage.operator.start()
    await stage.until(lambda: stage.status["controller"] == obj["status"]["controller"], "it leads again")
    await stage.stays(
        lambda: stage.get("ConfigMap", TOLD) == told and stage.obj["status"] == obj["status"],
        "nothing is written",
        seconds=3,
    )


async def test_with_the_ModelDeployment_goes_what_the_routers_were_told(stage: Stage, router: Router) -> None:
    await stage.apply(spec("v1", traffic=ENVOY))
    await stage.until(lambda: stage.selector == names.router_selector(), "the Service leads to the routers")
    await stage.delete()
    await stage.until(lambda: stage.get("ConfigMap", TOLD) is None, "the ConfigMap is gone")
    await stage.until(
        lambda: bool(
            ((stage.get("Deployment", names.ROUTER) or {"metadata": {}})["metadata"].get("annotations") or {}).get(
                names.ANNOTATION_UNUSED_SINCE
            )
        ),
        "the routers are marked as unused",
    )
    assert stage.get(MODEL_DEPLOYMENT, MODEL) is None


async def test_older_routers_serve_on_and_are_brought_up_to_date_one_namespace_at_a_time(cluster: Cluster) -> None:
    # Given two namespaces with routers of one version,
    spaces = [await cluster.namespace("one-at-a-time") for _ in range(2)]
    common = SHORT | {"watch_namespaces": ",".join(spaces), "lease_namespace": spaces[0]}

    def operator(identity: str, image: str) -> Operator:
        folder, kubeconfig = cluster.folder / spaces[0], cluster.plane.kubeconfig(USER)
        return Operator(folder, kubeconfig, identity=identity, **common | {"router_image": image})

    with operator("older", "podium/router:older") as older:
        stages = [Stage(cluster, each, older) for each in spaces]
        for stage in stages:
            await stage.router()
            await stage.apply(spec("v1", traffic=ENVOY))
        for stage in stages:
            await stage.until(lambda stage=stage: led_by(stage, "podium/router:older"), "routers of the older version")
            await stage.until_ready("v1")
    # when an operator of a newer one takes over,
    since = latest(stages)
    with operator("newer", "podium/router:newer"):
        for stage in stages:
            await stage.until(lambda stage=stage: led_by(stage, "podium/router:newer"), "routers of the newer version")
    # then never two namespaces are at it at once, and nobody's Service led elsewhere meanwhile.
    busy: dict[str, bool] = {}
    for version in since_then(stages, since):
        namespace = version.obj["metadata"]["namespace"]
        if version.kind == "Deployment" and version.name == names.ROUTER:
            busy[namespace] = not complete(version.obj)
            assert not all(busy.get(each) for each in spaces), f"{version.revision}: both are being replaced"
        if version.kind == "Service" and version.name == MODEL:
            assert version.obj["spec"]["selector"] == names.router_selector()
        if version.kind == MODEL_DEPLOYMENT:
            ready = next(one for one in version.obj["status"]["conditions"] if one["type"] == "Ready")
            assert ready["status"] == "True", ready
    assert busy.keys() == set(spaces)


def led_by(stage: Stage, image: str) -> bool:
    """Whether the Service leads to routers, all of which run that image and are available."""
    deployment = stage.get("Deployment", names.ROUTER)
    if deployment is None or stage.selector != names.router_selector():
        return False
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return {one["image"] for one in containers} == {image} and complete(deployment)


def complete(deployment: Object) -> bool:
    """Whether all pods are of the present template and available."""
    status, meta = deployment.get("status") or {}, deployment["metadata"]
    counts = {status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")}
    return bool(status.get("observedGeneration") == meta["generation"] and counts == {deployment["spec"]["replicas"]})


def latest(stages: list[Stage]) -> int:
    """The last version of anything that was seen."""
    return max(version.revision for stage in stages for version in stage.world.history[stage.namespace])


def since_then(stages: list[Stage], revision: int) -> list[Version]:
    """All later versions, in the order in which they came about."""
    found = [one for stage in stages for one in stage.world.history[stage.namespace] if one.revision > revision]
    return sorted(found, key=lambda one: one.revision)
