"""Argo CD's own controller and API server beside the operator: what docs/gitops.md promises."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack

import pytest
import pytest_asyncio

from podium.api import names
from tests.client import Object
from tests.integration.argocd import ArgoCD
from tests.integration.operator import Operator
from tests.integration.rollouts.api import MODEL_DEPLOYMENT
from tests.integration.rollouts.gitops import GitOps, GitStage, told
from tests.integration.rollouts.kubelet import SERVES, Crashes, Serves
from tests.integration.rollouts.scenarios import BY_NAME, CANARY, run, run_undecided
from tests.integration.rollouts.stage import MODEL, SHORT, USER, Cluster, spec

NAMESPACES = 22
EACH = 8
"""Namespaces of one operator: each has eleven watches, and an operator no more than 100 connections."""
SIDES = pytest.mark.parametrize("options", [(), ("ServerSideApply=true",)], ids=["client-side", "server-side"])
PLAYED = {
    "rolling-update": ["Progressing", "Healthy"],
    "promoted-by-a-person": ["Progressing", "Healthy", "Suspended", "Healthy"],
    "canary": ["Progressing", "Healthy"],  # its candidate comes and goes between two looks
    "promoted-by-evidence": ["Progressing", "Healthy", "Progressing", "Healthy"],
    "rolled-back-by-evidence": ["Progressing", "Healthy", "Progressing", "Degraded"],
}
"""A scenario of each strategy, and healths that its Application has in this order, perhaps with others between."""
CHILDREN = ("ControllerRevision", "Deployment", "ReplicaSet", "Pod", "Service", "EndpointSlice", "PodDisruptionBudget")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gitops(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GitOps]:
    """Argo CD, and operators for all namespaces of this module."""
    namespaces = [await cluster.namespace("gitops") for _ in range(NAMESPACES)]
    argocd = ArgoCD(cluster.plane, tmp_path_factory.mktemp("argocd"))
    with ExitStack() as stack:
        operators: dict[str, Operator] = {}
        for start in range(0, NAMESPACES, EACH):
            own = namespaces[start : start + EACH]
            operators |= dict.fromkeys(own, stack.enter_context(operator_for(cluster, own)))
        await asyncio.to_thread(argocd.__enter__)
        stack.callback(argocd.close)
        gitops = GitOps(cluster, argocd, operators)
        running = asyncio.create_task(gitops.run())
        yield gitops
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    for namespace in namespaces:
        broken = cluster.world.violations(namespace)
        assert not broken, "\n".join(broken)


def operator_for(cluster: Cluster, namespaces: list[str]) -> Operator:
    return Operator(
        cluster.folder / namespaces[0],
        cluster.plane.kubeconfig(USER),
        watch_namespaces=namespaces,
        lease_namespace=namespaces[0],
        **SHORT,
    )


@SIDES
async def test_no_phase_of_any_strategy_is_drift_and_each_scenario_ends_as_without_git(
    gitops: GitOps, options: Sequence[str]
) -> None:
    stages = {name: gitops.stage(options) for name in PLAYED}

    await asyncio.gather(*(play(name, stage) for name, stage in stages.items()))

    for name, stage in stages.items():
        await stage.until_health(PLAYED[name][-1])
        seen = iter(stage.healths)
        assert all(health in seen for health in PLAYED[name]), f"{name}: {stage.healths}"
        assert stage.drift() == [], name
        assert stage.obj["metadata"]["generation"] == len(stage.commits), f"{name}: somebody else wrote its spec"
    by_evidence = stages["rolled-back-by-evidence"]
    await assert_rolled_back(by_evidence)
    assert by_evidence.status["rollout"]["decision"]["by"] == "evidence"


@SIDES
async def test_what_was_rolled_back_is_Synced_and_Degraded_and_git_is_left_alone(
    gitops: GitOps, options: Sequence[str]
) -> None:
    stage = await rolled_back(gitops, options)

    await assert_rolled_back(stage)
    assert stage.drift() == []


async def test_a_reverted_commit_ends_a_rollback_without_a_rollout(gitops: GitOps) -> None:
    stage = await rolled_back(gitops)
    champion, pods = stage.status["champion"]["revision"], {one["metadata"]["uid"] for one in stage.pods()}

    await stage.apply(spec("v1", 2))

    await stage.until_health("Healthy")
    assert stage.status["champion"]["revision"] == champion
    assert {one["metadata"]["uid"] for one in stage.pods()} == pods


async def test_a_sync_wave_waits_until_the_model_of_the_wave_before_is_Ready(gitops: GitOps) -> None:
    stage = gitops.stage()
    stage.kubelet.script(stage.namespace, "v1", Serves(limit=0))
    await stage.commit(stage.manifest(spec("v1", 2)), config_map(stage, wave=1))
    await stage.until_application(lambda app: "waiting for healthy state" in operation(app)["message"], "a wave waits")
    await stage.until_application(lambda app: told(app)[1] == "Progressing", "Progressing")
    await stage.until(lambda: stage.phase == "Progressing" and len(stage.pods()) == 2, "pods that are not ready")
    assert stage.get("ConfigMap", "next") is None

    stage.kubelet.script(stage.namespace, "v1", SERVES)

    await stage.until(lambda: stage.get("ConfigMap", "next"), "the next wave")
    assert stage.is_ready("v1")
    await stage.until_health("Healthy")


async def test_a_version_that_is_rolled_back_fails_the_sync_and_no_later_wave_is_applied(gitops: GitOps) -> None:
    stage = gitops.stage()
    await stage.apply(spec("v1", 2))
    await stage.until_health("Healthy")
    stage.kubelet.script(stage.namespace, "v2", Crashes())
    await stage.commit(stage.manifest(spec("v2", 2)), config_map(stage, wave=1))

    await stage.until(lambda: stage.phase == "RolledBack", "version 2 is rolled back")
    await stage.until_application(lambda app: "completed unsuccessfully" in operation(app)["message"], "the sync fails")
    (result,) = operation(stage.gitops.seen[stage.application][-1])["syncResult"]["resources"]
    assert (result["kind"], result["hookPhase"]) == (MODEL_DEPLOYMENT, "Failed")
    assert result["message"] == stage.status["message"]
    await stage.until_application(lambda app: told(app)[1] == "Degraded", "Degraded")
    assert stage.status["champion"]["version"] == "v1"
    assert stage.get("ConfigMap", "next") is None


async def test_a_wave_waits_for_a_model_that_is_suspended_until_somebody_brings_it_back(gitops: GitOps) -> None:
    stage = gitops.stage()
    await stage.commit(stage.manifest(spec("v1", 1, suspend=True)), config_map(stage, wave=1))
    await stage.until_application(lambda app: told(app)[1] == "Suspended", "Suspended")
    await stage.until_application(lambda app: "waiting for healthy state" in operation(app)["message"], "a wave waits")
    assert stage.get("ConfigMap", "next") is None

    await stage.act("unsuspend")

    await stage.until(lambda: stage.get("ConfigMap", "next"), "the next wave")


async def test_an_action_promotes_and_another_one_goes_back(gitops: GitOps) -> None:
    stage = await paused_canary(gitops)

    await stage.act("promote")
    await stage.until_ready("v2")
    await stage.until_health("Healthy")
    assert stage.status["lastCommand"]["value"].startswith(f"promote {stage.revision('v2')} argocd-")

    await stage.act("abort")  # its predecessor is still warm
    await stage.until_health("Degraded")
    assert stage.status["champion"]["version"] == "v1"
    assert stage.drift() == []


async def test_a_canary_that_waits_for_a_person_is_Suspended_and_an_action_aborts_it(gitops: GitOps) -> None:
    stage = await paused_canary(gitops)

    await stage.act("abort")

    await stage.until_health("Degraded")
    assert stage.outcome("v2") == "RolledBack"
    assert stage.drift() == []


@SIDES
async def test_suspend_by_an_action_lasts_where_git_is_silent(gitops: GitOps, options: Sequence[str]) -> None:
    stage = gitops.stage(options)
    await stage.apply(spec("v1", 1))
    await stage.until_ready("v1")

    await stage.act("suspend")
    await stage.until_health("Suspended")
    await stage.until(lambda: not stage.pods(), "no pods")
    assert stage.drift() == []

    await stage.act("unsuspend")
    await stage.until_health("Healthy")


async def test_suspend_by_an_action_is_taken_back_where_git_says_otherwise(gitops: GitOps) -> None:
    stage = gitops.stage()
    await stage.apply(spec("v1", 1, suspend=False))
    await stage.until_ready("v1")
    generation = stage.obj["metadata"]["generation"]

    await stage.act("suspend")

    await stage.until(lambda: stage.obj["metadata"]["generation"] == generation + 2, "that self-heal has put it back")
    await stage.until_ready("v1")


async def test_tracking_by_label_takes_no_child_for_a_part_of_the_Application_of_the_same_name(gitops: GitOps) -> None:
    """The last one: it is a setting for all Applications."""
    await asyncio.to_thread(gitops.argocd.track, "label")
    stage = gitops.stage(application=MODEL)
    await stage.apply(spec("v1", 2))
    await stage.until_ready("v1")
    assert stage.obj["metadata"]["labels"] == {names.LABEL_INSTANCE: MODEL}, "the mark"

    await stage.api.apply(marked(stage, "lone"))
    await stage.until(lambda: stage.get("ConfigMap", "lone"), "what has the mark, too, but no owner")
    await stage.comparing(stage.until(lambda: stage.get("ConfigMap", "lone") is None, "that it is pruned"))
    await stage.apply(spec("v2", 2))
    await stage.until_ready("v2")
    await stage.until_health("Healthy")

    for kind in CHILDREN:
        marks = {one["metadata"]["labels"][names.LABEL_INSTANCE] for one in stage.all(kind)}
        assert marks == {MODEL}, kind
    assert synced(stage) == {(MODEL_DEPLOYMENT, MODEL), ("ConfigMap", "lone")}
    await stage.until_application(lambda app: listed(app) == {(MODEL_DEPLOYMENT, MODEL)}, "a part of it, and alone")
    assert [one for one in stage.drift() if "lone" not in one] == []


async def play(name: str, stage: GitStage) -> None:
    """A scenario; while one by evidence is undecided, Argo CD has to show that.

    The first pods are not Ready before Argo CD has shown that they come: it looks now and then.
    """
    stage.kubelet.script(stage.namespace, "v1", Serves(limit=0))
    async with asyncio.TaskGroup() as group:
        if name.endswith("by-evidence"):
            group.create_task(run_undecided(BY_NAME[name], stage, lambda: stage.until_shown("Progressing")))
        else:
            group.create_task(run(BY_NAME[name], stage))
        await stage.until_application(lambda app: told(app)[1] == "Progressing", "Progressing")
        stage.kubelet.script(stage.namespace, "v1", SERVES)


async def assert_rolled_back(stage: GitStage) -> None:
    """Git asks for version 2 as before, version 1 serves, and Argo CD says why."""
    assert stage.status["champion"]["version"] == "v1"
    assert stage.obj["spec"]["model"]["version"] == "v2"
    assert stage.gitops.argocd.log() == stage.gitops.commits
    assert "was rolled back" in stage.status["message"]
    await stage.until_shown("Degraded")


async def rolled_back(gitops: GitOps, options: Sequence[str] = ()) -> GitStage:
    """Version 2 crashed."""
    stage = gitops.stage(options)
    await run(BY_NAME["crash-rollback"], stage)
    await stage.until_health("Degraded")
    return stage


async def paused_canary(gitops: GitOps) -> GitStage:
    """Version 2 has a quarter of the requests, and waits for a person."""
    stage = gitops.stage()
    await stage.apply(spec("v1", 3, rollout=CANARY))
    await stage.until_ready("v1")
    await stage.apply(spec("v2", 3, rollout=CANARY))
    await stage.until_health("Suspended")
    return stage


def synced(stage: GitStage) -> set[tuple[str, str]]:
    """(kind, name) of all that Argo CD has ever applied or pruned for the Application."""
    states = (app.get("status", {}).get("operationState", {}) for app in stage.gitops.seen[stage.application])
    results = (state.get("syncResult", {}).get("resources", []) for state in states)
    return {(one["kind"], one["name"]) for found in results for one in found}


def listed(app: Object) -> set[tuple[str, str]]:
    """(kind, name) of all that the Application consists of."""
    return {(one["kind"], one["name"]) for one in app["status"]["resources"]}


def marked(stage: GitStage, name: str) -> Object:
    """What Argo CD, tracking by label, takes for a part of the Application that has the model's name."""
    metadata = {"name": name, "namespace": stage.namespace, "labels": {names.LABEL_INSTANCE: MODEL}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def config_map(stage: GitStage, wave: int) -> Object:
    annotations = {"argocd.argoproj.io/sync-wave": str(wave)}
    metadata = {"name": "next", "namespace": stage.namespace, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def operation(app: Object) -> Object:
    state: Object = app["status"]["operationState"]
    return state
