"""An upgrade against the real API server: what an earlier Podium stored is taken over as it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.operator import ROOT
from tests.integration.rollouts.api import MODEL_DEPLOYMENT, Object, Refusal, path_of
from tests.integration.rollouts.kubelet import FETCHED
from tests.integration.rollouts.stage import MODEL, Stage, spec
from tests.stored import COMMITS, crds, stored


def _uids(objects: list[Object]) -> set[str]:
    return {one["metadata"]["uid"] for one in objects}


def _part(live: object, like: object) -> object:
    """Of a spec the fields that another one has, too."""
    if not isinstance(live, dict) or not isinstance(like, dict):
        return live
    return {field: _part(value, like[field]) for field, value in live.items() if field in like}


async def install(stage: Stage, folder: Path, *, canary: bool) -> None:
    """CRDs of a folder, in force: the API server takes a Canary, or none."""
    await asyncio.to_thread(stage.cluster.plane.install_crds, folder)
    meta = {"name": "asked", "namespace": stage.namespace}
    rollout = {"strategy": "Canary"}
    asked = {"apiVersion": "podium.dev/v1alpha1", "kind": MODEL_DEPLOYMENT, "metadata": meta}
    asked["spec"] = spec("v1", 1, rollout=rollout)

    async def taken() -> bool:
        try:
            path = path_of(MODEL_DEPLOYMENT, stage.namespace)
            await stage.api.request("POST", path, asked, query={"dryRun": "All"})
        except Refusal as refusal:
            if "rollout.strategy" not in str(refusal):
                raise
            return False
        return True

    for _ in range(300):
        if await taken() is canary:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the CRDs of {folder} are not in force after 30 s")


@asynccontextmanager
async def earlier(stage: Stage, commit: str) -> AsyncIterator[None]:
    """Meanwhile the CRDs are those of a commit from before there were canaries; then they are today's again."""
    try:
        await install(stage, crds(commit), canary=False)
        yield
    finally:
        await install(stage, ROOT / "crds", canary=True)


@pytest.mark.parametrize("commit", COMMITS)
async def test_a_new_operator_and_its_crd_roll_nothing_out(stage: Stage, commit: str) -> None:
    # given objects as that commit's CRD and operator have left them, whose pods serve, and no operator
    stage.operator.kill()
    found = stored(commit)
    async with earlier(stage, commit):
        await stage.apply(found.model_deployment["spec"])
    record, deployment = found.children(stage.namespace, stage.uid)
    await stage.api.create(record)
    await stage.api.apply(deployment, manager="podium")
    await stage.until(
        lambda: stage.get("Deployment", deployment["metadata"]["name"])["status"]["readyReplicas"] == 2,  # type: ignore[index]
        "the old pods",
    )
    pods, sets = _uids(stage.pods()), _uids(stage.all("ReplicaSet"))

    # when the operator of today comes, under the CRD of today
    stage.operator.start()
    await stage.until_ready(record["data"]["version"])
    await stage.stays(lambda: len(stage.all("ControllerRevision")) == 1, "one revision", seconds=3)

    # then it has made no revision, no pod and no ReplicaSet, and writes no status about another one
    assert (_uids(stage.pods()), _uids(stage.all("ReplicaSet"))) == (pods, sets)
    (revision,) = stage.all("ControllerRevision")
    assert revision["data"] == record["data"]
    assert stage.status["champion"]["revision"] == record["metadata"]["name"]
    assert "candidate" not in stage.status
    # what its pods fetched is read from them, whoever made them
    assert stage.status["champion"]["digest"] == FETCHED
    # and what was stored of the spec is as it was, whatever the defaults of today are; fields that are new may be added
    spec = stage.world.get("ModelDeployment", stage.namespace, MODEL)["spec"]  # type: ignore[index]
    assert _part(spec, found.model_deployment["spec"]) == found.model_deployment["spec"]
