"""Updates under load, and versions that do not come up. Each scene has a namespace and a load client of its own."""

import time
from dataclasses import dataclass

from tests import stage as s
from tests.client import Object, wait
from tests.cluster.foreign import localized
from tests.e2e.world import World, scene
from tests.load import Counts, Load
from tests.models.digits import PICK

QUICK = {"minReadySeconds": 5}


@dataclass(frozen=True)
class Update:
    """What an update from version 1 to version 2 looked like from outside."""

    counts: Counts
    seconds: float
    after: Object


def update(world: World, stage: s.Stage, name: str, load: Load, obj: Object) -> Update:
    """Updates a ModelDeployment that is Ready to `obj`, version 2, under load."""
    with world.load_turn, load:
        load.await_answers()
        began = time.monotonic()
        stage.apply(obj)
        after = stage.until_ready(name, "2")
        seconds = time.monotonic() - began
        # Ready speaks of the EndpointSlices; kube-proxy follows them a moment later.
        wait("answers of version 2", lambda: both_versions_answered(load.counts()), 30)
        load.await_answers(200)
        return Update(load.close(), seconds, after)


@scene
def rolling_update(world: World) -> Update:
    """Version 1 to version 2, pod by pod."""
    stage = world.stage("e2e-rolling")
    stage.apply(s.onnx("digits", "1", rollout=QUICK))
    stage.until_ready("digits", "1")
    load = stage.load("digits", world.digits.questions())
    return update(world, stage, "digits", load, s.onnx("digits", "2", rollout=QUICK))


@scene
def blue_green_update(world: World) -> Update:
    """Version 1 to version 2, all at once."""
    stage = world.stage("e2e-blue-green")
    rollout = {"strategy": "BlueGreen", **QUICK}
    stage.apply(s.onnx("digits", "1", rollout=rollout))
    stage.until_ready("digits", "1")
    load = stage.load("digits", world.digits.questions())
    return update(world, stage, "digits", load, s.onnx("digits", "2", rollout=rollout))


@scene
def canary_update(world: World) -> Update:
    """Version 1 to version 2 by a share of the requests, which the numbers of pods make."""
    stage = world.stage("e2e-canary")
    rollout = {"strategy": "Canary", "steps": [{"weight": 50, "for": "5s"}], **QUICK}
    stage.apply(s.onnx("digits", "1", rollout=rollout))
    stage.until_ready("digits", "1")
    load = stage.load("digits", world.digits.questions())
    return update(world, stage, "digits", load, s.onnx("digits", "2", rollout=rollout))


@dataclass(frozen=True)
class Refusal:
    """What became of a version that does not come up."""

    counts: Counts
    status: Object
    deadline: str


def refuse(stage: s.Stage, load: Load, obj: Object, version: str) -> Refusal:
    """Applies a version that does not come up, and waits until it is rolled back."""
    before = load.counts()
    stage.apply(obj)
    began = stage.until(
        "digits",
        f"version {version} on its way",
        lambda o: (o["status"].get("candidate") or {}).get("version") == version,
    )
    after = stage.until_phase("digits", "RolledBack")
    load.await_answers()
    return Refusal(load.counts().since(before), after["status"], began["status"]["rollout"]["deadline"])


@scene
def bad_versions(world: World) -> dict[str, Refusal]:
    """Version 1 serves; then one whose bytes are not those of its sha256, and one that crashes."""
    stage = world.stage("e2e-bad")
    stage.apply(s.onnx("digits", "1", rollout=QUICK))
    stage.until_ready("digits", "1")
    wrong = s.onnx("digits", "3", file="2", model={"sha256": "0" * 64}, rollout=QUICK)
    crashing = s.onnx("digits", "4", file="broken", rollout=QUICK)
    with world.load_turn, stage.load("digits", world.digits.questions()) as load:
        load.await_answers()
        return {
            "checksum": refuse(stage, load, wrong, "3"),
            "crash": refuse(stage, load, crashing, "4"),
        }


ABRUPT = """\
import os, signal, subprocess, sys

server = subprocess.Popen([sys.executable, "-m", "podium_serving"])


def stop(number, frame):
    server.kill()
    os._exit(0)


signal.signal(signal.SIGTERM, stop)
sys.exit(server.wait())
"""


def abrupt_runtime(name: str, pre_stop: int) -> Object:
    """A server that ends the moment it is told to, without finishing anything."""
    return {
        "apiVersion": "podium.dev/v1alpha1",
        "kind": "ModelRuntime",
        "metadata": {"name": name},
        "spec": {
            "image": localized("localhost/podium/serving:dev"),
            "command": ["python", "/etc/abrupt/serve.py"],
            "protocol": "OIPv2",
            "formats": ["onnx"],
            "ports": {"http": 8080},
            "files": [{"path": "/etc/abrupt/serve.py", "template": ABRUPT}],
            "probes": {
                "readiness": {
                    "httpGet": {"path": "/v2/health/ready", "port": "http"},
                    "periodSeconds": 1,
                    "timeoutSeconds": 5,
                }
            },
            "drain": {"preStopSeconds": pre_stop, "seconds": 10},
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        },
    }


def abrupt_update(world: World, pre_stop: int) -> Update:
    """An update over servers that end abruptly, under load over new connections alone.

    A connection that is kept alive breaks with its server whatever Podium does: only new ones tell what preStop does.
    """
    name = f"abrupt-{pre_stop}"
    stage = world.stage(f"e2e-{name}")
    world.client.apply(abrupt_runtime(name, pre_stop))
    spec: Object = {"runtime": {"name": name}, "rollout": QUICK}
    stage.apply(s.onnx("digits", "1", **spec))
    stage.until_ready("digits", "1")
    url = stage.address("digits") + s.INFER.format(name="digits")
    load = Load(url, world.digits.questions(), pick=PICK, kept=0.0)
    return update(world, stage, "digits", load, s.onnx("digits", "2", **spec))


@scene
def update_with_pre_stop(world: World) -> Update:
    """Abrupt servers, taken out of the Service 10 s before they are told to end."""
    return abrupt_update(world, 10)


@scene
def update_without_pre_stop(world: World) -> Update:
    """Abrupt servers, told to end at the moment in which they are taken out of the Service."""
    return abrupt_update(world, 0)


def test_a_rolling_update_under_load_loses_no_request(rolling_update: Update) -> None:
    assert not rolling_update.counts.failed, str(rolling_update.counts)
    assert both_versions_answered(rolling_update.counts)


def test_a_blue_green_update_under_load_loses_no_request(blue_green_update: Update) -> None:
    assert not blue_green_update.counts.failed, str(blue_green_update.counts)
    assert both_versions_answered(blue_green_update.counts)


def test_a_canary_under_load_loses_no_request(canary_update: Update) -> None:
    assert not canary_update.counts.failed, str(canary_update.counts)
    assert both_versions_answered(canary_update.counts)
    assert canary_update.after["status"]["rollout"]["decision"]["rule"] == "steps-complete"


def both_versions_answered(counts: Counts) -> bool:
    """Whether two revisions answered, one as version 1 and one as version 2."""
    return sorted(list(versions) for versions in counts.versions.values()) == [["1"], ["2"]]


def test_the_load_was_as_heavy_as_it_should_be(rolling_update: Update, blue_green_update: Update) -> None:
    for seen in (rolling_update, blue_green_update):
        assert seen.counts.sent / seen.counts.seconds >= 200, str(seen.counts)


def test_after_blue_green_the_loser_stays_warm(blue_green_update: Update) -> None:
    assert blue_green_update.after["status"]["previous"]["version"] == "1"


def test_without_pre_stop_the_same_load_test_sees_failures(update_without_pre_stop: Update) -> None:
    assert update_without_pre_stop.counts.failed


def test_with_pre_stop_even_a_server_that_ends_abruptly_loses_no_new_connection(update_with_pre_stop: Update) -> None:
    assert not update_with_pre_stop.counts.failed, str(update_with_pre_stop.counts)


def test_wrong_bytes_are_rolled_back_before_the_deadline_with_the_reason(bad_versions: dict[str, Refusal]) -> None:
    refusal = bad_versions["checksum"]

    decision = refusal.status["rollout"]["decision"]
    assert decision["verdict"] == "RolledBack"
    assert decision["at"] < refusal.deadline
    assert "ChecksumMismatch" in refusal.status["message"]


def test_a_crashing_model_is_rolled_back_before_the_deadline_with_the_reason(bad_versions: dict[str, Refusal]) -> None:
    refusal = bad_versions["crash"]

    decision = refusal.status["rollout"]["decision"]
    assert decision["verdict"] == "RolledBack"
    assert decision["at"] < refusal.deadline
    assert "ModelInvalid" in refusal.status["message"]


def test_meanwhile_the_champion_answers_every_request(bad_versions: dict[str, Refusal]) -> None:
    for refusal in bad_versions.values():
        champion = refusal.status["champion"]
        assert champion["version"] == "1"
        assert list(refusal.counts.revisions) == [champion["revision"]]
        assert not refusal.counts.failed, str(refusal.counts)
