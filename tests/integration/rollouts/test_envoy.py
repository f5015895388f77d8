"""`router: Envoy` against a real API server: its objects, its rights and its watches. The routers are played."""

import pytest_asyncio

from podium.api import names
from podium.router.state import KEY
from tests.integration.rollouts.api import MODEL_DEPLOYMENT
from tests.integration.rollouts.routers import Router
from tests.integration.rollouts.stage import MODEL, Stage, spec

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
    assert stage.get("Service", stage.revision("v1")) is None

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
    await stage.apply(spec("v1", traffic=ENVOY, rollout={"strategy": "BlueGreen"}))
    await stage.until(lambda: stage.selector == names.router_selector(), "the Service leads to the routers")
    router.stuck = True
    await stage.apply(spec("v2", traffic=ENVOY, rollout={"strategy": "BlueGreen", "scaleDownDelay": "0s"}))
    await stage.until(lambda: stage.outcome("v2") == "Promoted", "v2 is promoted")
    await stage.until(lambda: stage.weights.get(stage.revision("v2")) == 10_000, "the routers are told so")
    await stage.stays(lambda: stage.replicas("v1") == 2 and not stage.is_ready("v2"), "v1 keeps its pods")
    router.stuck = False
    await stage.until(lambda: not stage.replicas("v1"), "v1 may go")
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
