"""A request that asks for more memory than its container has: it is refused, and the pod lives on."""

import json
from dataclasses import dataclass

from tests import stage as s
from tests.client import Object, session
from tests.e2e.test_rollouts import QUICK
from tests.e2e.world import World, scene
from tests.load import TIMEOUT, Counts, Load, Question
from tests.models.digits import PICK
from tests.unit.serving.harness import as_large_as_asked, zeros

MIB = 2**20
LIMIT = 256 * MIB
# Results that no such container has room for, that the runs have room for and the requests have not, and a small one.
SIZES = (2048 * MIB, LIMIT // 3, MIB)
ROUNDS = 4
RATE = 100.0


@dataclass(frozen=True)
class Asked:
    """Status and text of the answers, what others saw meanwhile, and the only pod after all of it."""

    answers: list[tuple[int, str]]
    others: Counts
    pod: Object


@scene
def asked_for_memory(world: World, name: str = "giving") -> Asked:
    """A container of 256 MiB is asked for 2 GiB of zeros again and again, while others ask for a few."""
    stage = world.stage("e2e-memory")
    file = world.cluster.folder / f"{name}.onnx"
    file.write_bytes(as_large_as_asked())
    uri = s.uri(name, "1", "model.onnx")
    world.cluster.store.put(file, uri)
    runtime = {"resources": {"limits": {"memory": str(LIMIT)}, "requests": {"memory": str(LIMIT)}}}
    stage.apply(s.onnx(name, "1", replicas=1, model={"uri": uri}, runtime=runtime, rollout=QUICK))
    stage.until_ready(name, "1")
    url = stage.address(name) + s.INFER.format(name=name)
    answers = []
    with (
        world.load_turn,
        Load(url, [Question(json.dumps(zeros(4)))], pick=PICK, rate=RATE) as load,
        session() as asking,
    ):
        load.await_answers(RATE)
        for _ in range(ROUNDS):
            for size in SIZES:
                answer = asking.post(url, json=zeros(size // 4), timeout=TIMEOUT)
                answers.append((answer.status_code, answer.text[:1000]))
        others = load.close()
    (pod,) = stage.client.list("Pod", stage.namespace)
    return Asked(answers, others, pod)


def test_who_asks_for_too_much_is_told_so_with_the_way_out(asked_for_memory: Asked) -> None:
    wanted = [500, 413, 200] * ROUNDS
    assert [status for status, _ in asked_for_memory.answers] == wanted, str(asked_for_memory.answers)
    for status, text in asked_for_memory.answers:
        assert status == 200 or "raise spec.runtime.resources.limits.memory" in text
        assert status != 413 or "the result takes" in text


def test_the_pod_lives_on_and_others_lose_no_request(asked_for_memory: Asked) -> None:
    (container,) = (each for each in asked_for_memory.pod["status"]["containerStatuses"] if each["name"] == "model")
    assert container["restartCount"] == 0
    assert not asked_for_memory.others.failed, str(asked_for_memory.others)
