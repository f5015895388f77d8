"""TorchServe, the second runtime: real archives, updates under load, and a handler that raises."""

import time
from dataclasses import dataclass

from tests import stage as s
from tests.client import Object
from tests.e2e.test_replacements import PAUSES, Replaced, replace_pods
from tests.e2e.test_rollouts import QUICK, Update, both_versions_answered, update
from tests.e2e.world import World, scene_alone
from tests.load import Load
from tests.models.torchserve import BROKEN, PICK

RATE = 20
"""Requests per second that TorchServe holds from its first second, when Java has compiled nothing yet."""

PATIENCE = 20.0
"""Seconds that callers wait where pods are replaced."""


@dataclass(frozen=True)
class Torch:
    """What TorchServe answered as version 1, its pods, and the update to version 2."""

    answers: list[str]
    right: list[str]
    pods: list[Object]
    update: Update


@scene_alone
def torchserve(world: World) -> Torch:
    """Version 1 is asked about every image; then version 2 under load."""
    stage = world.stage("e2e-torch")
    stage.apply(s.torch("digits", "1", rollout=QUICK))
    stage.until_ready("digits", "1")
    answers = [stage.ask("digits", image, runtime="torchserve")[0] for image in world.torch.images]
    pods = stage.client.list("Pod", stage.namespace)
    load = stage.torch_load("digits", world.torch.questions(), rate=RATE)
    updated = update(world, stage, "digits", load, s.torch("digits", "2", rollout=QUICK))
    return Torch(answers, [str(digit) for digit in world.torch.answers["1"]], pods, updated)


@scene_alone
def torchserve_replaced(world: World) -> Replaced:
    """Both pods are replaced, one after the other, under steady load and before callers who pause."""
    stage = world.stage("e2e-torch-replaced")
    stage.apply(s.torch("digits", "1", replicas=2, rollout=QUICK))
    stage.until_ready("digits", "1")
    questions = world.torch.questions()
    url = stage.address("digits") + s.PREDICTIONS.format(name="digits")
    # How quickly Java answers while another one starts beside it is not what is asked here.
    steady = Load(url, questions, pick=PICK, rate=5, timeout=PATIENCE)
    pausing = Load(url, questions, pick=PICK, lanes=40, pauses=PAUSES, timeout=PATIENCE)
    with world.load_turn, steady, pausing:
        steady.await_answers()
        seen = replace_pods(stage, 2, pods=2, at_once=1)
        pausing.await_answers(round(40 * PAUSES[1] / PAUSES[0]), 3 * PAUSES[1])
        return Replaced(seen, steady.close(), pausing.close())


@dataclass(frozen=True)
class BrokenHandler:
    """What became of an archive whose handler raises."""

    status: Object
    seconds: float
    failed: int


@scene_alone
def torchserve_broken(world: World) -> BrokenHandler:
    """Version 1 serves under load; then an archive whose handler raises when it is loaded."""
    stage = world.stage("e2e-torch-broken")
    rollout = {**QUICK, "progressDeadline": "5m"}
    stage.apply(s.torch("digits", "1", rollout=rollout))
    stage.until_ready("digits", "1")
    with world.load_turn, stage.torch_load("digits", world.torch.questions(), rate=10) as load:
        load.await_answers()
        began = time.monotonic()
        stage.apply(s.torch("digits", BROKEN, rollout=rollout))
        after = stage.until_phase("digits", "RolledBack", 330)
        seconds = time.monotonic() - began
        return BrokenHandler(after["status"], seconds, load.close().failed)


def test_torchserve_predicts_what_the_network_predicts(torchserve: Torch) -> None:
    assert torchserve.answers == torchserve.right


def test_a_torchserve_update_under_load_loses_no_request(torchserve: Torch) -> None:
    assert not torchserve.update.counts.failed, str(torchserve.update.counts)
    assert both_versions_answered(torchserve.update.counts)


def test_pods_of_torchserve_are_replaced_and_neither_load_nor_callers_that_pause_lose_a_request(
    torchserve_replaced: Replaced,
) -> None:
    assert len(torchserve_replaced.pods) >= 4
    for counts in (torchserve_replaced.steady, torchserve_replaced.pausing):
        assert counts.answered
        assert not counts.failed, str(counts)


def test_torchserve_runs_on_a_read_only_root_in_a_restricted_namespace(torchserve: Torch) -> None:
    assert torchserve.pods
    for pod in torchserve.pods:
        containers = pod["spec"]["containers"] + pod["spec"].get("initContainers", [])
        assert all(container["securityContext"]["readOnlyRootFilesystem"] for container in containers)


def test_a_handler_that_raises_is_rolled_back_with_its_own_words(torchserve_broken: BrokenHandler) -> None:
    assert torchserve_broken.status["champion"]["version"] == "1"
    assert "labels.json is missing from the archive" in torchserve_broken.status["message"]
    assert not torchserve_broken.failed
