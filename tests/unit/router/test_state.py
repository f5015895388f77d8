"""What a router takes from ConfigMaps and EndpointSlices."""

import time
from typing import Any

import pytest

from podium.api import names
from podium.manifests.owner import Owner, owner_reference
from podium.router.endpoints import GRPC, HTTP, Endpoint, endpoints_of
from podium.router.routing import Routing, Share
from podium.router.state import KEY, LINGER_SECONDS, SUFFIX, State, pods_of


def routing(model: str, port: int, **weights: int) -> Routing:
    """`weights`: by a letter of the alphabet that revisions' names are made of."""
    return Routing(model, port, tuple(Share(f"{model}-{name * 10}", weight) for name, weight in weights.items()))


def config_map(name: str, text: str, /, **changed: Any) -> dict[str, Any]:
    """`changed`: in its reference to its owner."""
    reference = owner_reference(Owner(name.removesuffix(SUFFIX), "ml", "uid")) | changed
    return {"metadata": {"name": name, "ownerReferences": [reference]}, "data": {KEY: text}}


def a_slice(
    name: str, *pods: dict[str, Any], service: str = "fraud-bbbbbbbbbb", family: str = "IPv4", **ports: int
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": family,
        "ports": [{"name": port, "port": number} for port, number in (ports or {HTTP: 8080}).items()],
        "endpoints": list(pods),
    }


def a_pod(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions}


def test_a_config_map_that_cannot_be_used_leaves_what_was_good() -> None:
    good = routing("fraud", 20_000, b=10_000)
    state = State(time.monotonic)
    state.take(
        [
            config_map("fraud-router", good.to_json()),
            config_map("spam-router", routing("spam", 20_001, c=10_000).to_json()),
        ]
    )
    state.take(
        [config_map("fraud-router", "{}"), config_map("spam-router", routing("spam", 20_001, d=10_000).to_json())]
    )

    assert state.wanted() == [good, routing("spam", 20_001, d=10_000)]
    assert list(state.refused) == ["fraud-router"]
    assert state.refused["fraud-router"].startswith("ConfigMap fraud-router, routing.json: routing lacks the field")


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_routing_of_a_config_map_that_is_gone_stays_for_a_while() -> None:
    clock, fraud = Clock(), routing("fraud", 20_000, b=10_000)
    state = State(clock)
    state.take([config_map("fraud-router", fraud.to_json())])
    assert state.next_look() is None

    for clock.now in (100.0, 99.0 + LINGER_SECONDS):
        state.take([])
        assert state.wanted() == [fraud]
        assert state.texts() == {"fraud-router": fraud.to_json()}
    assert state.next_look() == 1.0
    assert (state.refused, state.missing()) == ({}, [])

    clock.now += 1.0
    state.take([])
    assert state.wanted() == []
    assert state.next_look() is None


def test_a_config_map_that_comes_back_counts_from_anew() -> None:
    clock, fraud = Clock(), routing("fraud", 20_000, b=10_000)
    state = State(clock)
    for taken in ([config_map("fraud-router", fraud.to_json())], [], [config_map("fraud-router", fraud.to_json())], []):
        state.take(taken)
        clock.now += LINGER_SECONDS - 1
    state.take([])
    assert state.wanted() == [fraud]


def test_a_successor_of_the_agent_keeps_what_lingers() -> None:
    fraud = routing("fraud", 20_000, b=10_000)
    state = State(time.monotonic)
    state.take([config_map("fraud-router", fraud.to_json())])
    state.take([])
    successor = State.remembered(state.texts(), time.monotonic)
    successor.take([])
    assert successor.wanted() == [fraud]


def test_a_config_map_that_is_gone_frees_its_port_for_whoever_is_told_to_listen_there() -> None:
    state = State(time.monotonic)
    state.take([config_map("fraud-router", routing("fraud", 20_000, b=10_000).to_json())])
    state.take([config_map("spam-router", routing("spam", 20_000, c=10_000).to_json())])
    assert [each.model for each in state.wanted()] == ["spam"]
    assert state.refused == {}
    assert state.next_look() is None


def test_a_port_that_another_has_is_refused() -> None:
    state = State(time.monotonic)
    first = config_map("fraud-router", routing("fraud", 20_000, b=10_000).to_json())
    state.take([first, config_map("spam-router", routing("spam", 20_000, c=10_000).to_json())])
    assert state.refused == {
        "spam-router": "ConfigMap spam-router, routing.json: port 20000 is that of ConfigMap fraud-router already"
    }


def test_a_copy_under_another_name_moves_nothing_wherever_it_stands() -> None:
    first = routing("fraud", 20_000, b=10_000)
    state = State(time.monotonic)
    state.take([config_map("fraud-router", first.to_json()),
                config_map("before", routing("fraud", 20_000, c=10_000).to_json())])  # fmt: skip

    assert state.wanted() == [first]
    assert state.foreign == {"before"}
    assert state.refused == {}
    assert state.missing() == []


def test_what_speaks_of_another_model_than_its_name_does_is_refused() -> None:
    state = State(time.monotonic)
    state.take([config_map("spam-router", routing("fraud", 20_000, b=10_000).to_json())])
    assert state.wanted() == []
    assert state.refused == {
        "spam-router": "ConfigMap spam-router, routing.json: model fraud is told of in ConfigMap fraud-router alone"
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"controller": False},
        {"kind": "Deployment"},
        {"apiVersion": "apps/v1"},
        {"apiVersion": "podium.dev.example/v1"},
        {"name": "spam"},
    ],
)
@pytest.mark.parametrize("text", ["{", routing("fraud", 20_000, b=10_000).to_json()])
def test_what_no_model_deployment_of_its_name_controls_counts_as_not_there(changed: dict[str, Any], text: str) -> None:
    spam = routing("spam", 20_000, b=10_000)
    state = State(time.monotonic)
    state.take([config_map("fraud-router", text, **changed), config_map("spam-router", spam.to_json())])

    assert state.wanted() == [spam]
    assert (state.refused, state.missing(), state.foreign) == ({}, [], {"fraud-router"})


def test_what_is_taken_from_its_owner_serves_on_as_it_was() -> None:
    first, next_one = routing("fraud", 20_000, b=10_000), routing("fraud", 20_000, c=10_000)
    state = State(time.monotonic)
    state.take([config_map("fraud-router", first.to_json())])
    orphan = config_map("fraud-router", next_one.to_json())
    del orphan["metadata"]["ownerReferences"]
    state.take([orphan])

    assert state.wanted() == [first]
    assert state.missing() == []
    assert state.refused["fraud-router"].startswith("ConfigMap fraud-router: no ModelDeployment of its name controls")

    state.take([config_map("fraud-router", next_one.to_json())])
    assert (state.wanted(), state.refused, state.foreign) == ([next_one], {}, frozenset())


def test_a_router_misses_what_it_never_understood_and_not_what_it_once_did() -> None:
    broken = config_map("fraud-router", "{")
    fresh, running = State(time.monotonic), State(time.monotonic)
    running.take([config_map("fraud-router", routing("fraud", 20_000, b=10_000).to_json())])
    for state in (fresh, running):
        state.take([broken])

    assert fresh.missing() == list(fresh.refused.values())
    assert running.missing() == []
    # an agent that is started anew is told by what its predecessor kept
    successor = State.remembered(running.texts(), time.monotonic)
    successor.take([broken])
    assert successor.wanted() == [routing("fraud", 20_000, b=10_000)]
    assert successor.missing() == []


def test_the_pods_of_all_slices_each_once_by_the_port_s_name() -> None:
    slices = [
        a_slice("one", a_pod("10.0.0.2", ready=True), a_pod("10.0.0.1"), http=8080, grpc=9000),
        a_slice("two", a_pod("10.0.0.2", ready=True), a_pod("10.0.0.3", ready=False), http=8080, grpc=9000),
        a_slice("a-six", a_pod("fd00::1", ready=True), family="IPv6", http=8080, grpc=9000),
    ]
    assert endpoints_of(slices, HTTP) == (Endpoint("10.0.0.1", 8080), Endpoint("10.0.0.2", 8080))
    assert endpoints_of(slices, GRPC) == (Endpoint("10.0.0.1", 9000), Endpoint("10.0.0.2", 9000))
    assert endpoints_of(slices[2:], HTTP) == (Endpoint("fd00::1", 8080),)


def test_if_none_is_ready_those_that_serve_while_they_leave() -> None:
    leaving = a_pod("10.0.0.1", ready=False, serving=True, terminating=True)
    broken = a_pod("10.0.0.2", ready=False, serving=False)
    assert endpoints_of([a_slice("one", leaving, broken)], HTTP) == (Endpoint("10.0.0.1", 8080),)
    ready = a_pod("10.0.0.3", ready=True)
    assert endpoints_of([a_slice("one", leaving, broken, ready)], HTTP) == (Endpoint("10.0.0.3", 8080),)


def test_a_revision_without_a_pod_is_known_and_has_none() -> None:
    found = pods_of([routing("fraud", 20_000, b=10_000, c=0)], [a_slice("one", a_pod("10.0.0.1", ready=True))])
    assert found == {
        ("fraud-bbbbbbbbbb", HTTP): (Endpoint("10.0.0.1", 8080),),
        ("fraud-cccccccccc", HTTP): (),
    }


def test_the_operator_writes_under_the_name_that_routers_read() -> None:
    assert names.routing_name("fraud") == f"fraud{SUFFIX}"
