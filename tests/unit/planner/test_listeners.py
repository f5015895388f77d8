"""Listener ports of a namespace's routers: the lowest that is free, nobody's twice, and at rest after use."""

from datetime import UTC, datetime

from podium.api import names
from podium.api.v1alpha1 import Traffic
from podium.kube.client import Object
from podium.kube.resources import CONFIG_MAPS, Resource
from podium.manifests.owner import Owner
from podium.manifests.routing import config_map, routing
from podium.reconcile.ports import REST, Ports

ML, START = "ml", datetime(2030, 1, 1, tzinfo=UTC)


class Told:
    """The cache, with what is recorded in ConfigMaps."""

    def __init__(self, **ports: int) -> None:
        self.ports = ports

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        assert (resource, model) == (CONFIG_MAPS, names.ROUTER)
        made = (
            config_map(
                Owner(name, namespace, f"uid-{name}"),
                routing(name, port, {f"{name}-{'b' * 10}": 10_000}, [], Traffic()),
            )
            for name, port in self.ports.items()
        )
        return list(made) if namespace == ML else []


def test_each_gets_the_lowest_that_is_free_and_keeps_it() -> None:
    ports = Ports(Told(a=20_000, c=20_002))
    assert ports.of(ML, "b", "uid-b", None, START) == 20_001
    assert ports.of(ML, "d", "uid-d", None, START) == 20_003
    assert ports.of(ML, "b", "uid-b", None, START) == 20_001
    assert ports.of(ML, "c", "uid-c", None, START) == 20_002


def test_two_that_are_planned_before_either_is_recorded_get_different_ones() -> None:
    ports = Ports(Told())
    assert {ports.of(ML, "a", "1", None, START), ports.of(ML, "b", "2", None, START)} == {20_000, 20_001}


def test_namespaces_have_routers_of_their_own() -> None:
    ports = Ports(Told(a=20_000))
    assert ports.of("other", "a", "1", None, START) == 20_000


def test_a_port_that_was_given_up_rests_for_ten_minutes() -> None:
    ports = Ports(Told())
    assert ports.of(ML, "a", "1", None, START) == 20_000
    ports.free(ML, "a")
    assert ports.of(ML, "b", "2", None, START) == 20_001
    assert ports.of(ML, "c", "3", None, START + REST / 2) == 20_002
    assert ports.of(ML, "d", "4", None, START + REST) == 20_000


def test_a_new_ModelDeployment_of_the_same_name_gets_another_port() -> None:
    ports = Ports(Told())
    assert ports.of(ML, "a", "first", None, START) == 20_000
    assert ports.of(ML, "a", "second", None, START) == 20_001


def test_after_a_restart_an_unreadable_ConfigMap_leaves_the_port_of_the_stable_Service() -> None:
    service = {"spec": {"ports": [{"name": "http", "port": 80, "targetPort": 20_017}]}}
    assert Ports(Told()).of(ML, "a", "1", service, START) == 20_017


def test_a_port_that_somebody_wrote_twice_is_anothers_for_the_second_who_asks() -> None:
    ports = Ports(Told(a=20_005, b=20_005))
    first = ports.of(ML, "a", "uid-a", None, START)
    second = ports.of(ML, "b", "uid-b", None, START)
    assert first != second
