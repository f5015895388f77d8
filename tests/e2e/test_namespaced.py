"""Podium for some namespaces alone: it has rights there and nowhere else, and a cluster admin brings the runtimes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Object
from tests.cluster import podium
from tests.e2e import ground
from tests.e2e.test_plain_yaml import forget_kinds, write_manifests
from tests.e2e.world import Performance, World
from tests.stage import Stage


@pytest.fixture(scope="module")
def manifests(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make install-yaml` writes."""
    return write_manifests(world, tmp_path_factory.mktemp("manifests"))


@pytest.fixture(scope="module")
def team(world: World, performance: Performance, manifests: Path) -> Iterator[Stage]:
    """A namespace with a Podium of its own, on a cluster with the kinds alone; afterwards Podium is as before."""
    performance.finish()
    ground.uninstall(world.cluster)
    forget_kinds(world)
    kubectl = world.cluster.kubectl
    kubectl("apply", "--server-side", "--filename", str(manifests / "crds.yaml"))
    kubectl("wait", "--for=condition=Established", "--filename", str(manifests / "crds.yaml"), "--timeout=30s")
    stage = world.stage(ground.TEAM)
    values = podium.values(world.cluster.build_images(), world.cluster.registry())
    file = manifests / "team.json"
    file.write_text(json.dumps(values | {"watchNamespaces": [ground.TEAM], "crds": {"install": False}}))
    ground.helm(world.cluster, "install", podium.RELEASE, podium.CHART, f"--namespace={ground.TEAM_PODIUM}",
                "--create-namespace", f"--values={file}", "--wait", "--timeout=120s")  # fmt: skip
    yield stage
    ground.uninstall(world.cluster, ground.TEAM_PODIUM)
    forget_kinds(world)
    ground.install(world.cluster)


def mine(event: Object) -> bool:
    return bool(event["user"].get("username") == ground.account(ground.TEAM_PODIUM))


def test_a_missing_runtime_is_a_condition_that_names_the_file_to_apply(team: Stage) -> None:
    obj = ground.plain()
    team.apply(obj | {"spec": {"runtime": {"name": "onnxruntime"}, "replicas": 1}})

    said = ground.until_condition(team, "plain", "RuntimeNotFound")

    assert '"onnxruntime"' in said["message"]
    assert "runtimes.yaml" in said["message"]
    assert team.client.list("ModelRuntime") == []


def test_once_a_cluster_admin_brought_the_runtimes_models_become_ready(team: Stage, manifests: Path) -> None:
    team.cluster.kubectl("apply", "--server-side", "--filename", str(manifests / "runtimes.yaml"))
    ground.plain_runtime(team)

    team.apply(ground.plain())

    team.until_ready("plain")


def test_models_of_other_namespaces_are_left_alone(world: World, team: Stage) -> None:
    others = world.stage(ground.OTHERS)
    others.apply(ground.plain())

    # Something that it sees later and acts on, so that it had the time to act on the other, too.
    team.apply(ground.plain("again"))
    team.until_ready("plain")

    # The status that every ModelDeployment is born with.
    assert others.get("plain")["status"]["phase"] == "Pending"
    assert others.client.list("ControllerRevision", ground.OTHERS) == []


def test_its_rights_are_a_role_in_the_namespace_and_reading_runtimes(world: World, team: Stage) -> None:
    roles = world.client.request("GET", "/apis/rbac.authorization.k8s.io/v1/roles").json()["items"]
    places = {role["metadata"]["namespace"] for role in roles if role["metadata"]["name"].startswith(podium.RELEASE)}
    assert places == {ground.TEAM, ground.TEAM_PODIUM}
    who = f"--as={ground.account(ground.TEAM_PODIUM)}"
    listed = world.cluster.kubectl("auth", "can-i", "--list", who, f"--namespace={ground.OTHERS}").splitlines()
    granted = [line.split() for line in listed if line.split()[0].endswith((".podium.dev", ".apps", "pods"))]
    assert [words[0] for words in granted] == ["modelruntimes.podium.dev"]
    assert granted[0][-3:] == ["[get", "list", "watch]"]


def test_it_asked_for_nothing_outside_of_it_and_wrote_no_runtime(world: World, team: Stage) -> None:
    asked = [event for event in ground.audited(world.cluster, mine) if event.get("objectRef")]

    assert asked
    for event in asked:
        reference = event["objectRef"]
        if reference["resource"] == "modelruntimes":
            assert event["verb"] in ("get", "list", "watch")
        else:
            assert reference.get("namespace") in (ground.TEAM, ground.TEAM_PODIUM), event["requestURI"]
    own = {e["objectRef"]["resource"] for e in asked if e["objectRef"].get("namespace") == ground.TEAM_PODIUM}
    assert own == {"leases"}
