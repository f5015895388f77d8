"""The whole cluster loses its power in the middle of a rollout, and starts again from its disk.

API server, etcd, controllers, kubelet, the operator's and all models' containers die at once. One ModelDeployment is
Healthy then, another has pods of two revisions.
"""

import time
from dataclasses import dataclass

from tests import stage as s
from tests.client import Object, session, wait
from tests.cluster import podium
from tests.e2e import ground
from tests.e2e.test_restore import collected
from tests.e2e.world import World, scene_alone
from tests.stage import Stage

CALM, ROLLING = "calm", "rolling"
NAMES = (CALM, ROLLING)
KINDS = ("ModelDeployment", "ControllerRevision", "Deployment", "Service", "PodDisruptionBudget")
SLOW = {"minReadySeconds": 4, "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
TOLD = ("podium.dev/outcome", "podium.dev/rule", "podium.dev/decided-at")
NAMESPACE = "e2e-cluster-restart"
Uids = dict[tuple[str, str], str]
Records = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Seen:
    """What there is of the two ModelDeployments at one moment."""

    objects: dict[str, Uids]
    """By ModelDeployment: uids of itself and of its children, by kind and name."""
    records: dict[str, Records]
    """By ModelDeployment and revision: outcome, rule, and time of the decision."""
    status: dict[str, Object]
    pods: dict[str, dict[str, str]]
    operators: dict[str, str]
    """uids of the operator's pods by name."""
    restarts: int
    """Of all containers of the operator's and the models' pods."""


@dataclass(frozen=True)
class Restarted:
    before: Seen
    after: Seen
    answers: dict[str, str]
    collected: list[str]
    """What the garbage collector has deleted since the power was lost."""
    seconds: dict[str, float]
    """From the loss of power until the API server answered, the operator led, and each ModelDeployment was Ready."""


def look(stage: Stage) -> Seen:
    objects: dict[str, Uids] = {name: {} for name in NAMES}
    for kind in KINDS:
        for obj in stage.client.list(kind, stage.namespace):
            meta = obj["metadata"]
            owner = meta["name"] if kind == "ModelDeployment" else meta["labels"]["podium.dev/model"]
            objects[owner][kind, meta["name"]] = meta["uid"]
    records: dict[str, Records] = {name: {} for name in NAMES}
    for obj in stage.client.list("ControllerRevision", stage.namespace):
        meta = obj["metadata"]
        said = tuple(meta["annotations"].get(annotation, "") for annotation in TOLD)
        records[meta["labels"]["podium.dev/model"]][meta["name"]] = said
    operators = ground.operator_pods(stage)
    models = stage.client.list("Pod", stage.namespace)
    return Seen(
        objects,
        records,
        {name: stage.get(name)["status"] for name in NAMES},
        {name: ground.pods_of(stage, name) for name in NAMES},
        {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in operators},
        sum(one["restartCount"] for pod in (*operators, *models) for one in pod["status"].get("containerStatuses", [])),
    )


def half_way(obj: Object) -> bool:
    """Whether pods of both revisions are available, and more are to come."""
    champion, candidate = (obj["status"].get(role) or {} for role in ("champion", "candidate"))
    return bool(champion.get("available") and candidate.get("available") and candidate["available"] < 3)


def claimed(stage: Stage) -> float:
    """When the Lease was last renewed, in seconds since 1970."""
    return ground.seconds(stage.client.get("Lease", podium.NAMESPACE, podium.RELEASE)["spec"]["renewTime"])


def serves(obj: Object) -> bool:
    """Whether it is Ready with all of its pods: right after the start status tells of pods that are no more."""
    champion = obj["status"].get("champion") or {}
    wanted = obj["spec"]["replicas"]
    return s.ready(obj) and champion.get("available") == wanted and "candidate" not in obj["status"]


def answered(stage: Stage, name: str) -> str:
    with session() as asking:
        return asking.get(stage.address(name), timeout=5).text.strip()


@scene_alone
def restarted(world: World) -> Restarted:
    """The loss of power, and what there is once both are Ready again. Alone: all on the cluster dies."""
    ground.require_host(world.cluster)
    stage = world.stage(NAMESPACE)
    ground.plain_runtime(stage)
    for name in NAMES:
        stage.apply(named(name, "one"))
    for name in NAMES:
        stage.until_ready(name)
    stage.apply(named(ROLLING, "two"))
    stage.until(ROLLING, "pods of both revisions are available", half_way)
    before, lost = look(stage), time.time()

    world.cluster.reboot()

    seconds = {"API server": time.time() - lost}
    wait("the operator leads", lambda: claimed(stage) > lost, 120)
    seconds["operator"] = time.time() - lost
    for name in NAMES:
        stage.until(name, "all of its pods serve", serves)
        seconds[name] = time.time() - lost
    first = before.status[ROLLING]["champion"]["revision"]
    wait("the loser's Deployment is gone", lambda: stage.client.find("Deployment", NAMESPACE, first) is None, 60)
    answers = {name: wait("an answer", lambda name=name: answered(stage, name), 120) for name in NAMES}
    print(f"after the loss of power: { {what: round(took) for what, took in seconds.items()} } s")
    return Restarted(before, look(stage), answers, collected(world, stage.namespace, lost), seconds)


def named(name: str, text: str) -> Object:
    obj = ground.plain(text, rollout=SLOW, replicas=3)
    return obj | {"metadata": {**obj["metadata"], "name": name}}


def test_the_champion_is_the_same_by_record_and_by_status(restarted: Restarted) -> None:
    before, after = restarted.before, restarted.after

    assert after.status[CALM]["champion"]["revision"] == before.status[CALM]["champion"]["revision"]
    assert after.records[CALM] == before.records[CALM]
    assert after.objects[CALM] == before.objects[CALM]
    assert restarted.answers[CALM].endswith(f"revision {after.status[CALM]['champion']['revision']}")


def test_the_rollout_ends_as_it_would_have(restarted: Restarted) -> None:
    before, after = restarted.before, restarted.after
    candidate = before.status[ROLLING]["candidate"]["revision"]
    first = before.status[ROLLING]["champion"]["revision"]

    assert before.records[ROLLING][candidate] == ("", "", ""), "it was under way"
    assert after.status[ROLLING]["champion"]["revision"] == candidate
    assert after.records[ROLLING].keys() == before.records[ROLLING].keys() == {first, candidate}
    assert after.records[ROLLING][first] == before.records[ROLLING][first]
    assert after.records[ROLLING][candidate][:2] == ("Promoted", "rolling-complete")
    assert restarted.answers[ROLLING].endswith(f"revision {candidate}")


def test_nothing_is_lost_made_anew_or_collected(restarted: Restarted) -> None:
    before, after = restarted.before, restarted.after
    given_up = ("Deployment", before.status[ROLLING]["champion"]["revision"])

    assert after.objects[ROLLING] == {place: uid for place, uid in before.objects[ROLLING].items() if place != given_up}
    assert [one for one in restarted.collected if given_up[1] not in one] == []


def test_the_operator_comes_back_by_itself_and_so_do_the_pods_of_what_was_well(restarted: Restarted) -> None:
    before, after = restarted.before, restarted.after

    assert after.restarts >= before.restarts + len(before.operators) + len(before.pods[CALM])
    assert after.operators == before.operators
    assert after.pods[CALM] == before.pods[CALM]
