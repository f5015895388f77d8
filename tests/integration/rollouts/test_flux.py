"""Flux's own apply and wait beside the operator: what docs/gitops.md promises of a Kustomization with `wait: true`."""

import copy
from collections.abc import AsyncIterator

import pytest_asyncio

from podium.api import names
from tests.client import Object
from tests.integration.flux import LABELS, Reconciliation, reconcile
from tests.integration.rollouts.api import MODEL_DEPLOYMENT
from tests.integration.rollouts.kubelet import SERVES, Crashes, Serves
from tests.integration.rollouts.scenarios import BY_NAME, run_undecided
from tests.integration.rollouts.stage import MODEL, Cluster, Stage, spec
from tests.integration.rollouts.world import PATIENCE


class FluxStage(Stage):
    """A stage whose specs Flux applies."""

    last: Reconciliation | None = None

    async def apply(self, spec: Object, **annotations: str) -> None:
        """What a Kustomization does at a new commit; `last` goes on waiting for it."""
        await self.close()
        self.spec = copy.deepcopy(spec)
        metadata = {"name": MODEL, "namespace": self.namespace}
        obj = {"apiVersion": names.API_VERSION, "kind": MODEL_DEPLOYMENT, "metadata": metadata, "spec": spec}
        self.last = await reconcile(self.cluster.plane.kubeconfig(), obj, PATIENCE)
        await self.until(lambda: self.obj, "the ModelDeployment")
        self.uid = self.obj["metadata"]["uid"]

    async def reconciled(self, spec: Object) -> tuple[dict[str, str], str]:
        """What one reconciliation changed, and its failure."""
        await self.apply(spec)
        return self.reconciliation.changes, await self.reconciliation.failure()

    @property
    def reconciliation(self) -> Reconciliation:
        assert self.last is not None
        return self.last

    async def close(self) -> None:
        """What is not waited for any more ends."""
        if self.last is not None:
            await self.last.close()


@pytest_asyncio.fixture(loop_scope="session")
async def flux(cluster: Cluster, stage: Stage) -> AsyncIterator[FluxStage]:
    flux = FluxStage(cluster, stage.namespace, stage.operator)
    yield flux
    await flux.close()


async def test_it_waits_until_the_version_serves(flux: FluxStage) -> None:
    flux.kubelet.script(flux.namespace, "v1", Serves(limit=0))
    await flux.apply(spec("v1", 2))
    await flux.until(lambda: flux.phase == "Progressing" and len(flux.pods()) == 2, "pods that are not ready")
    await flux.stays(lambda: flux.reconciliation.waits, "that it waits")

    flux.kubelet.script(flux.namespace, "v1", SERVES)

    assert await flux.reconciliation.failure() == ""
    assert flux.is_ready("v1")
    assert {*LABELS} <= flux.obj["metadata"]["labels"].keys()
    kinds = ("ControllerRevision", "Deployment", "Service", "Pod", "PodDisruptionBudget")
    children = [one for kind in kinds for one in flux.all(kind)]
    assert not [one["metadata"] for one in children if {*LABELS} & one["metadata"]["labels"].keys()]


async def test_it_fails_once_the_version_is_rolled_back_each_time_again_until_git_changes(flux: FluxStage) -> None:
    await flux.apply(spec("v1", 2))
    assert await flux.reconciliation.failure() == ""
    pods = {one["metadata"]["uid"] for one in flux.pods()}
    flux.kubelet.script(flux.namespace, "v2", Crashes())
    object_, failed = f"{MODEL_DEPLOYMENT}/{flux.namespace}/{MODEL}", "failed early due to stalled resources"

    first = await flux.reconciled(spec("v2", 2))
    again = await flux.reconciled(spec("v2", 2))
    outcome = flux.outcome("v2")
    reverted = await flux.reconciled(spec("v1", 2))

    assert first == ({object_: "configured"}, f"{failed}: [{object_} status: 'Failed']")
    assert again == ({object_: "unchanged"}, f"{failed}: [{object_} status: 'Failed']")
    assert reverted == ({object_: "configured"}, "")
    await flux.until(lambda: {one["metadata"]["uid"] for one in flux.pods()} == pods, "the pods that there were")
    assert outcome == "RolledBack"


async def test_it_waits_while_evidence_is_weighed_and_fails_on_a_rollback_by_it(flux: FluxStage) -> None:
    async def it_waits() -> None:
        await flux.stays(lambda: flux.reconciliation.waits, "that it waits")

    await run_undecided(BY_NAME["rolled-back-by-evidence"], flux, it_waits)

    assert "status: 'Failed'" in await flux.reconciliation.failure()
    assert flux.status["rollout"]["decision"]["by"] == "evidence"
    assert flux.obj["metadata"]["generation"] == 2
