"""A mesh that puts its sidecar into pods as they are made, whose fetcher then gets no connection.

The API server puts the sidecar in, by an admission policy, as a mesh's webhook would. That connections are then refused
is the stand-in kubelet's word: no mesh runs.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio
import yaml

from podium.rollout.wire import parse_time
from tests.integration.rollouts.kubelet import FetchFails
from tests.integration.rollouts.stage import Stage, spec
from tests.integration.rollouts.world import PATIENCE

REFUSED = FetchFails(
    permanent=False, reason="ConnectFailed", message="s3://models/fraud/v1: cannot connect to http://s3"
)
SIDECAR = (
    '[JSONPatch{op: "add", path: "/spec/containers/-", value: Object.spec.containers{name: "istio-proxy", image: "p"}}]'
)


@pytest_asyncio.fixture(loop_scope="session")
async def meshed(stage: Stage) -> AsyncIterator[Stage]:
    """A namespace whose new pods get the container istio-proxy."""
    kind = {"apiVersion": "admissionregistration.k8s.io/v1"}
    name = f"mesh.{stage.namespace}"
    here = {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}}
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    policy = kind | {
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"namespaceSelector": here, "resourceRules": [pods]},
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": SIDECAR}}],
        },
    }
    binding = kind | {
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name},
    }
    kubectl = stage.cluster.plane.kubectl
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([policy, binding]))
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"}}
    pod |= {"spec": {"containers": [{"name": "model", "image": "i"}]}}
    dry_run = ("create", "--dry-run=server", f"--namespace={stage.namespace}", "--output=json", "--filename=-")
    # The API server takes a policy up a moment after it was made.
    async with asyncio.timeout(PATIENCE):
        while True:
            if "istio-proxy" in await asyncio.to_thread(kubectl, *dry_run, stdin=json.dumps(pod)):
                break
    yield stage
    kubectl("delete", "mutatingadmissionpolicybinding,mutatingadmissionpolicy", name)


async def test_it_is_told_as_such_and_the_update_serves_once_a_way_out_is_taken(meshed: Stage) -> None:
    # Given a version whose fetcher is refused every connection
    meshed.kubelet.script(meshed.namespace, "v1", REFUSED)
    await meshed.apply(spec("v1", replicas=1))

    # then the condition and status.message name the mesh, and a way out
    await meshed.until(lambda: meshed.condition("PodFailure").get("reason") == "FetchBlockedByMesh", "it is told")
    [pod] = meshed.pods("v1")
    told = parse_time(meshed.condition("PodFailure")["lastTransitionTime"])
    assert told - parse_time(pod["metadata"]["creationTimestamp"]) < timedelta(seconds=60)
    said = meshed.condition("PodFailure")["message"]
    assert "cannot fetch the model because of Istio" in said
    assert "cannot fetch the model because of Istio" in meshed.status["message"]
    assert "set spec.podTemplate.fetchSecurityContext.runAsUser to 1337" in said
    assert meshed.phase == "Progressing"

    # and that way leads out: the fetcher alone runs as the sidecar's user
    await meshed.apply(spec("v2", replicas=1, podTemplate={"fetchSecurityContext": {"runAsUser": 1337}}))
    await meshed.until(lambda: meshed.is_ready("v2"), "it serves")
    [pod] = meshed.pods("v2")
    by_name = {one["name"]: one for one in [*pod["spec"]["containers"], *pod["spec"]["initContainers"]]}
    assert by_name.keys() == {"model", "istio-proxy", "fetch"}
    assert by_name["fetch"]["securityContext"]["runAsUser"] == 1337
    assert "runAsUser" not in by_name["model"]["securityContext"]
    assert not meshed.condition("PodFailure")
