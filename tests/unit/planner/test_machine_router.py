"""The same with routers, to which random events happen, too: it comes to rest with all requests at the champion."""

from typing import Any

from hypothesis import strategies as st

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import CONFIG_MAPS, SERVICES
from tests.unit.planner.drawing import drawing
from tests.unit.planner.test_machine import Operator, event
from tests.unit.planner.world import NAME, NAMESPACE, model

ROUTERS = st.sampled_from(["None", "Envoy", "Envoy"])


class Routed(Operator):
    """One ModelDeployment that may have a router, in a namespace that has two."""

    def __init__(self) -> None:
        super().__init__()
        self.world.routers.start(2)

    @event(router=ROUTERS)
    def change_the_router(self, router: str) -> None:
        self.world.edit(traffic={"router": router})

    @event(version=st.sampled_from(["1", "2", "3"]))
    def change_the_model_behind_a_router(self, version: str) -> None:
        self.world.edit(traffic={"router": "Envoy"}, model=model(version))

    @event(number=st.integers(0, 2), seconds=st.sampled_from([0.0, 3.0, 20.0]))
    def a_router_is_late(self, number: int, seconds: float) -> None:
        self.world.routers.late[self._router(number)] = seconds

    @event(number=st.integers(0, 2), answers=st.booleans())
    def a_router_answers_or_not(self, number: int, answers: bool) -> None:
        silent = self.world.routers.silent
        (silent.discard if answers else silent.add)(self._router(number))

    @event(number=st.integers(0, 2), hears=st.booleans())
    def an_agent_is_started_anew_and_hears_from_the_API_server_or_not(self, number: int, hears: bool) -> None:
        anew = self.world.routers.anew
        (anew.discard if hears else anew.add)(self._router(number))

    @event(number=st.integers(0, 2))
    def a_router_is_replaced(self, number: int) -> None:
        name = self._router(number)
        if name:
            self.world.routers.stop(name)
        self.world.routers.start(1)

    @event()
    def one_more_router(self) -> None:
        if len(self.world.routers.pods()) < 4:
            self.world.routers.start(1)

    @event(text=st.sampled_from(["", "{}", "[]"]))
    def somebody_writes_nonsense_for_the_routers(self, text: str) -> None:
        if self.world.live(CONFIG_MAPS, names.routing_name(NAME)):

            def change(obj: Object) -> Any:
                obj["data"] = {"routing.json": text}

            self.world.change(CONFIG_MAPS, names.routing_name(NAME), change)

    @event()
    def somebody_deletes_what_the_routers_are_told(self) -> None:
        self.world.api.delete(CONFIG_MAPS, NAMESPACE, names.routing_name(NAME))

    def _router(self, number: int) -> str:
        pods = self.world.routers.pods()
        return str(pods[number % len(pods)]["metadata"]["name"]) if pods else ""

    def get_well(self) -> None:
        routers = self.world.routers
        routers.late.clear()
        routers.silent.clear()
        routers.anew.clear()

    def all_requests_go_to(self, champion: str) -> None:
        world = self.world
        services = {service["metadata"]["name"] for service in world.api.all(SERVICES)}
        if world.spec.get("traffic", {}).get("router") != "Envoy":
            super().all_requests_go_to(champion)
            assert world.live(CONFIG_MAPS, names.routing_name(NAME)) is None, world.describe()
            assert services == {NAME}, world.describe()
            return
        if world.spec["replicas"] and any(world.ready_pods(champion)):
            assert world.selector() == names.router_selector(), world.describe()
        told = [{name for name, weight in each.items() if weight} for each in world.routers.weights(NAME)]
        assert all(each == {champion} for each in told), (told, world.describe())
        assert services == {NAME, champion}, world.describe()


Routed.TestCase.settings = drawing(60)


class TestRouted(Routed.TestCase):  # type: ignore[name-defined,misc]
    """pytest collects it from here."""
