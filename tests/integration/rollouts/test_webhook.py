"""An admission webhook that nobody serves, at a real API server: its sentence is told, and nobody is blamed for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from tests.integration.rollouts.stage import Stage, spec

HOOKS: Final = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
SENTENCE: Final = 'failed calling webhook "away.example.com"'


@asynccontextmanager
async def away(stage: Stage) -> AsyncIterator[None]:
    """No Deployment is taken in the stage's namespace: who is to judge them has no Service."""
    name = f"away-{stage.namespace}"
    webhook = {
        "name": "away.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "clientConfig": {"service": {"namespace": stage.namespace, "name": "away"}},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}},
        "rules": [
            {
                "apiGroups": ["apps"],
                "apiVersions": ["v1"],
                "resources": ["deployments"],
                "operations": ["CREATE", "UPDATE"],
            }
        ],
    }
    made = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    await stage.api.request("POST", HOOKS, {**made, "metadata": {"name": name}, "webhooks": [webhook]})
    try:
        yield
    finally:
        await stage.api.request("DELETE", f"{HOOKS}/{name}")


def tells_of_it(stage: Stage) -> bool:
    ready = stage.condition("Ready")
    return ready.get("reason") == "Environment" and SENTENCE in ready["message"]


def seconds(later: str, earlier: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


async def test_a_first_rollout_tells_of_it_within_half_a_minute_and_goes_on_once_it_is_gone(stage: Stage) -> None:
    async with away(stage):
        await stage.apply(spec("v1", 1))
        await stage.until(lambda: tells_of_it(stage), "that the webhook is told of")
        told = stage.condition("Ready")["lastTransitionTime"]
        assert seconds(told, stage.obj["metadata"]["creationTimestamp"]) <= 30
    await stage.until_ready("v1")


async def test_a_later_rollout_waits_for_it_past_its_deadline_and_rolls_nothing_back(stage: Stage) -> None:
    await stage.apply(spec("v1", 1))
    await stage.until_ready("v1")
    async with away(stage):
        await stage.apply(spec("v2", 1, rollout={"progressDeadline": "10s"}))
        await stage.until(lambda: tells_of_it(stage), "that the webhook is told of")
        begun = stage.get("ControllerRevision", stage.revision("v2"))
        assert begun is not None
        told = stage.condition("Ready")["lastTransitionTime"]
        assert seconds(told, begun["metadata"]["creationTimestamp"]) <= 30
        deadline = datetime.fromisoformat(begun["metadata"]["creationTimestamp"]) + timedelta(seconds=10)
        await asyncio.sleep((deadline - datetime.now(UTC)).total_seconds() + 5)
        assert stage.outcome("v2") == ""
        assert stage.endpoints()
    await stage.until_ready("v2")
