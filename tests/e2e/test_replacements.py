"""Pods that come and go under load, and callers that keep their connections and pause for as long as those live."""

import time
from dataclasses import dataclass

from tests import stage as s
from tests.client import Object, condition, wait
from tests.e2e.test_rollouts import QUICK
from tests.e2e.world import World, scene
from tests.load import Counts, Load
from tests.models.digits import PICK

PAUSES = (9.0, 13.0)
"""Seconds between a caller's requests: about as long as the servers keep a connection for further ones."""
PODS = 4
AT_ONCE = 2
REPLACED = 20


@dataclass(frozen=True)
class Replaced:
    """The names of all pods that there were, what steady load saw, and what callers with pauses saw."""

    pods: set[str]
    steady: Counts
    pausing: Counts


def ready_pods(stage: s.Stage) -> list[Object]:
    """Those that stay, oldest first."""
    pods = [pod for pod in stage.client.list("Pod", stage.namespace) if "deletionTimestamp" not in pod["metadata"]]
    ready = [pod for pod in pods if condition(pod, "Ready").get("status") == "True"]
    return sorted(ready, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))


def replace_pods(stage: s.Stage, count: int, *, pods: int, at_once: int) -> set[str]:
    """Deletes so many pods, the oldest first, and waits each time until as many are Ready again; names of all."""
    seen = {pod["metadata"]["name"] for pod in ready_pods(stage)}
    for _ in range(count // at_once):
        for pod in ready_pods(stage)[:at_once]:
            stage.client.delete("Pod", stage.namespace, pod["metadata"]["name"])
        wait(f"{pods} pods that are Ready", lambda: len(ready_pods(stage)) == pods, s.SLOW_START)
        seen |= {pod["metadata"]["name"] for pod in ready_pods(stage)}
    return seen


@scene
def replacements(world: World) -> Replaced:
    """Twenty pods are replaced, two at a time, under steady load and before callers who pause."""
    stage = world.stage("e2e-replaced")
    stage.apply(s.onnx("digits", "1", replicas=PODS, rollout=QUICK))
    stage.until_ready("digits", "1")
    questions = world.digits.questions()
    url = stage.address("digits") + s.INFER.format(name="digits")
    pausing = Load(url, questions, pick=PICK, lanes=150, pauses=PAUSES)
    with world.load_turn, stage.load("digits", questions) as steady, pausing:
        began = time.monotonic()
        steady.await_answers()
        seen = replace_pods(stage, REPLACED, pods=PODS, at_once=AT_ONCE)
        # Every caller has asked once more since the last pod went.
        pausing.await_answers(round(150 * PAUSES[1] / PAUSES[0]), 3 * PAUSES[1])
        assert time.monotonic() - began > PAUSES[1]
        return Replaced(seen, steady.close(), pausing.close())


def test_twenty_pods_are_replaced_under_load_and_no_request_is_lost(replacements: Replaced) -> None:
    assert len(replacements.pods) >= PODS + REPLACED
    assert not replacements.steady.failed, str(replacements.steady)
    assert replacements.steady.answered > 50 * REPLACED


def test_callers_that_pause_while_connections_end_and_pods_go_lose_no_request(replacements: Replaced) -> None:
    assert not replacements.pausing.failed, str(replacements.pausing)
    assert replacements.pausing.answered >= 3 * 150
