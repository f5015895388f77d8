"""The same path, other bytes: what a revision's pods fetched, and that somebody hears of it when they disagree."""

import json

import pytest

from podium.kube.resources import MODEL_DEPLOYMENTS, PODS
from tests.unit.planner.given import BLUE_GREEN, created, serving, switched
from tests.unit.planner.world import NAME, NAMESPACE, World

OLD, NEW = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def said(digest: object) -> str:
    """The fetcher's termination message."""
    return json.dumps({"result": "done", "uri": "s3://m/1", "digest": digest, "bytes": 7, "files": 1, "seconds": 0.5})


def overwritten(replicas: int = 3) -> World:
    """Version 1 serves; then other bytes are put under its path, and its oldest pod is replaced."""
    world = created(replicas=replicas)
    world.behave("1", fetched=said(OLD))
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    for pod in world.pods():
        world.behave(pod["metadata"]["name"], fetched=said(OLD))
    world.behave("1", fetched=said(NEW))
    world.cluster.stop(world.pods()[0])
    world.rest()
    return world


def digests(world: World) -> dict[str, str]:
    """What each pod fetched."""
    return {
        pod["metadata"]["name"]: json.loads(
            pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["message"]
        )["digest"]
        for pod in world.pods()
    }


def test_the_champions_digest_is_in_status_and_pods_that_agree_are_no_news() -> None:
    world = created(replicas=2)
    world.behave("1", fetched=said(OLD))
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))

    assert world.status["champion"]["digest"] == OLD
    assert world.condition("ModelBytesDiffer") is None


def test_pods_of_one_revision_that_disagree_are_named_with_what_they_fetched() -> None:
    world = overwritten()

    assert sorted(digests(world).values()) == [OLD, OLD, NEW]
    assert world.condition("ModelBytesDiffer") == ("True", "ModelBytesDiffer")
    message = world.message("ModelBytesDiffer")
    old = [name for name, digest in digests(world).items() if digest == OLD]
    (new,) = [name for name, digest in digests(world).items() if digest == NEW]
    assert f"{OLD} ({', '.join(sorted(old))}) and {NEW} ({new})" in message
    assert "Give each version a path of its own, or pin spec.model.sha256." in message
    # and a person hears of it once, by a warning, while it serves on
    (event,) = [event for event in world.heard.said if event.reason == "ModelBytesDiffer"]
    assert (event.type, event.note) == ("Warning", message)
    assert world.condition("Ready") == ("True", "Serving")
    # the digest is that of the pod which has served for the longest time
    assert world.status["champion"]["digest"] == OLD


def test_it_is_over_with_the_last_pod_of_the_old_bytes() -> None:
    world = overwritten(replicas=2)
    (old,) = [pod for pod in world.pods() if digests(world)[pod["metadata"]["name"]] == OLD]
    world.cluster.stop(old)
    world.rest()

    assert world.condition("ModelBytesDiffer") is None
    assert world.status["champion"]["digest"] == NEW


def test_it_is_found_again_when_status_is_lost_and_by_another_operator() -> None:
    world = overwritten()
    before = world.status
    world.lose_status()
    world.restart_operator()
    world.until(lambda: world.condition("ModelBytesDiffer") is not None)

    assert world.message("ModelBytesDiffer") in [c["message"] for c in before["conditions"]]
    assert world.status["champion"]["digest"] == before["champion"]["digest"]


def test_two_revisions_have_bytes_of_their_own() -> None:
    world = switched(replicas=2)
    one, two = world.revision("1"), world.revision("2")
    world.behave("1", fetched=said(OLD))
    world.behave("2", fetched=said(NEW))
    world.until(lambda: world.status["champion"].get("digest") == NEW)

    assert {len(world.pods(one)), len(world.pods(two))} == {2}
    assert world.condition("ModelBytesDiffer") is None


def test_a_candidates_digest_is_in_status_too() -> None:
    world = serving(rollout={**BLUE_GREEN, "promotion": "Manual"})
    world.behave("2", fetched=said(NEW))
    world.edit(model={"uri": "s3://models/fraud/2", "format": "onnx"})
    world.until(lambda: (world.status.get("candidate") or {}).get("digest"))

    assert world.status["candidate"]["digest"] == NEW
    assert "digest" not in world.status["champion"]


@pytest.mark.parametrize(
    "words",
    ["", "fetched", "[]", "[" * 4000, "{}", said(None), said(7), said("sha256:short"), said(f"md5:{'a' * 64}")],
)
def test_a_fetcher_whose_last_words_are_odd_has_said_nothing(words: str) -> None:
    world = created(replicas=2)
    world.behave("1", fetched=words)
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))

    assert "digest" not in world.status["champion"]


def test_a_pod_that_somebody_else_made_says_nothing_of_the_revision() -> None:
    world = overwritten(replicas=1)
    assert world.condition("ModelBytesDiffer") is None
    stray = json.loads(json.dumps(world.pods()[0]))
    stray["metadata"] = {
        "name": "debug",
        "namespace": NAMESPACE,
        "labels": stray["metadata"]["labels"],
        "annotations": {"podium.dev/version": "1"},
    }
    world.behave("debug", fetched=said(OLD))
    world.api.create(stray, "kubectl")
    world.rest()

    assert world.live(PODS, "debug") is not None
    assert world.condition("ModelBytesDiffer") is None
    assert world.need(MODEL_DEPLOYMENTS, NAME)["status"]["champion"]["digest"] == NEW
