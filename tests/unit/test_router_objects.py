"""The routers of a namespace: there while told anything, gone ten minutes after, replaced one by one."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from podium.api import names
from podium.api.v1alpha1 import Traffic
from podium.keys import Key
from podium.kube.client import ApiError, Object
from podium.kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    HPAS,
    MODEL_DEPLOYMENTS,
    PDBS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    Resource,
    router_key,
)
from podium.manifests.owner import Owner
from podium.manifests.router import InvalidRouterPods
from podium.manifests.routing import config_map, routing
from podium.reconcile.outcome import PassRefused
from podium.reconcile.router_objects import LOOK_AGAIN, RouterObjects
from podium.reconcile.router_turns import WAITED_FOR
from podium.settings import Settings
from podium.watch.cache import Cache
from podium.watch.feed import Feed
from podium.watch.kinds import KINDS
from tests.unit.planner.apiserver import ApiServer, Call, Client

ALL = (SERVICE_ACCOUNTS, ROLE_BINDINGS, DEPLOYMENTS, PDBS, HPAS)
START = datetime(2030, 1, 1, tzinfo=UTC)


class Due(list[Key]):
    """A queue that is worked off by hand."""

    def add(self, key: Key) -> None:
        self.append(key)


class OneMoment(Client):
    """Writes take a moment, in which others go on."""

    async def apply(self, obj: Object, *, manager: str = "podium") -> Object:
        await asyncio.sleep(0)
        return await super().apply(obj, manager=manager)


class Term:
    """A leader with an API server, and the kubelets of routers."""

    def __init__(
        self,
        *,
        beside: "Term | None" = None,
        selects: Callable[[Object], bool] = lambda labels: True,
        **settings: Any,
    ) -> None:
        self.now = START
        self.selects = selects
        """Of which labels a ModelDeployment is this installation's."""
        self.api = beside.api if beside else ApiServer(lambda: self.now)
        self.due = Due()
        self.start(**settings)

    def start(self, client: type[Client] = Client, **settings: Any) -> None:
        """A new process."""
        self.client, self.cache = client(self.api), Cache()
        self.feed = Feed(self.cache, self.due)  # type: ignore[arg-type]
        self.delivered = dict.fromkeys(KINDS, 0)
        given = Settings(identity="one", **{"router_image": "podium/router:1"} | settings)
        self.routers = RouterObjects(self.cache, self.client, given, lambda: self.now, lambda: self.now.timestamp())
        self.deliver()
        self.due[:] = self.routers.keys()

    def deliver(self) -> None:
        for resource in KINDS:
            stream = self.api.streams[resource]
            for event in stream[self.delivered[resource] :]:
                if resource is MODEL_DEPLOYMENTS and not self.selects(event.obj["metadata"].get("labels") or {}):
                    continue
                self.feed.seen(resource, event.type, event.obj)
            self.delivered[resource] = len(stream)

    async def settle(self) -> list[float]:
        """Deliver and work off; answers when passes want to be called again."""
        again = []
        for _ in range(20):
            self.deliver()
            due, self.due[:] = list(dict.fromkeys(self.due)), []
            if not due:
                return again
            for key in due:
                if key.kind == "Router" and (wait := await self.routers.reconcile(key)) is not None:
                    again.append(wait)
        raise AssertionError("it does not come to rest")

    def model(self, namespace: str, model: str = "fraud", **labels: str) -> None:
        """A ModelDeployment with these labels."""
        meta = {"name": model, "namespace": namespace, "labels": labels}
        self.api.create({"apiVersion": names.API_VERSION, "kind": "ModelDeployment", "metadata": meta}, "kubectl")

    def tell(self, namespace: str, model: str = "fraud", **labels: str) -> None:
        """A ModelDeployment, which has these labels, has a router."""
        if self.api.get(MODEL_DEPLOYMENTS, namespace, model) is None:
            self.model(namespace, model, **labels)
        told = config_map(
            Owner(model, namespace, f"uid-{model}"),
            routing(model, 20_000, {f"{model}-{'b' * 10}": 10_000}, [], Traffic()),
        )
        self.api.apply(told, "podium")

    def untell(self, namespace: str, model: str = "fraud") -> None:
        """It has none any more."""
        self.api.purge((CONFIG_MAPS, namespace, names.routing_name(model)))

    def roll(self, namespace: str) -> None:
        """The Deployment's pods are of its template and available."""

        def change(obj: Object) -> None:
            size = obj["spec"]["replicas"]
            counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), size)
            obj["status"] = {"observedGeneration": obj["metadata"]["generation"], **counts}

        self.api.update(DEPLOYMENTS, namespace, names.ROUTER, change, "kube-controller-manager")

    def there(self, namespace: str) -> set[str]:
        return {r.kind for r in ALL if self.api.get(r, namespace, names.ROUTER) is not None}

    def image(self, namespace: str) -> str:
        live = self.api.get(DEPLOYMENTS, namespace, names.ROUTER)
        assert live is not None
        return str(live["spec"]["template"]["spec"]["containers"][0]["image"])

    def edit(self, resource: Resource, change: Callable[[Object], Any], name: str = names.ROUTER) -> None:
        self.api.update(resource, "ml", name, change, "kubectl")


@pytest.fixture
async def term() -> Term:
    """One namespace with routers."""
    term = Term()
    term.tell("ml")
    await term.settle()
    term.roll("ml")
    await term.settle()
    return term


async def test_what_tells_the_routers_makes_them_with_two_pods_and_nobody_owns_them(term: Term) -> None:
    assert term.there("ml") == {r.kind for r in ALL}
    for resource in ALL:
        live = term.api.get(resource, "ml", names.ROUTER)
        assert live is not None
        assert "ownerReferences" not in live["metadata"]
        assert names.LABEL_INSTANCE not in live["metadata"]["labels"]
    deployment = term.api.get(DEPLOYMENTS, "ml", names.ROUTER)
    assert deployment is not None
    assert deployment["spec"]["replicas"] == 2


async def test_our_own_write_of_what_tells_them_is_enough() -> None:
    term = Term()
    term.model("ml")
    await term.settle()
    told = config_map(
        Owner("fraud", "ml", "uid"), routing("fraud", 20_000, {"fraud-bbbbbbbbbb": 10_000}, [], Traffic())
    )
    term.cache.put(CONFIG_MAPS, await term.client.apply(told))
    await term.settle()
    assert "Deployment" in term.there("ml")


async def test_without_anything_to_do_no_call_is_made(term: Term) -> None:
    calls = len(term.client.calls)
    term.due.append(router_key("ml"))
    await term.settle()
    assert [str(call) for call in term.client.calls[calls:]] == []


async def test_after_a_restart_what_is_watched_is_not_written_again(term: Term) -> None:
    term.start()
    await term.settle()
    assert {call.resource for call in term.client.calls} <= {SERVICE_ACCOUNTS, ROLE_BINDINGS}


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("given", "kept"), [(5, 5), (2, 2), (1, 2), (0, 2)])
async def test_the_autoscaler_keeps_the_number_that_it_gave_and_nobody_goes_below_its_least(
    term: Term, given: int, kept: int, restarted: bool
) -> None:
    term.edit(DEPLOYMENTS, lambda o: o["spec"].update(replicas=given))
    if restarted:
        term.start()
    await term.settle()
    live = term.api.get(DEPLOYMENTS, "ml", names.ROUTER)
    assert live is not None
    assert live["spec"]["replicas"] == kept


@pytest.mark.parametrize("resource", [DEPLOYMENTS, PDBS, HPAS])
async def test_what_is_deleted_is_made_again(term: Term, resource: Resource) -> None:
    term.api.delete(resource, "ml", names.ROUTER)
    await term.settle()
    assert resource.kind in term.there("ml")


async def test_an_edit_is_put_back_until_it_is_a_fight(term: Term) -> None:
    for _ in range(5):
        term.edit(PDBS, lambda o: o["spec"].update(maxUnavailable=2))
        await term.settle()
        live = term.api.get(PDBS, "ml", names.ROUTER)
        assert live is not None
        assert live["spec"]["maxUnavailable"] == 1
    term.edit(PDBS, lambda o: o["spec"].update(maxUnavailable=2))
    await term.settle()
    live = term.api.get(PDBS, "ml", names.ROUTER)
    assert live is not None
    assert live["spec"]["maxUnavailable"] == 2


@pytest.mark.parametrize("resource", [DEPLOYMENTS, SERVICE_ACCOUNTS, ROLE_BINDINGS], ids=lambda r: r.kind)
async def test_a_persons_object_of_that_name_is_left_alone(resource: Resource) -> None:
    term = Term()
    before = persons(term, resource)
    term.tell("ml")
    with pytest.raises(PassRefused, match="none of Podium's"):
        await term.settle()
    assert term.api.get(resource, "ml", names.ROUTER) == before


@pytest.mark.parametrize("resource", [SERVICE_ACCOUNTS, ROLE_BINDINGS], ids=lambda r: r.kind)
async def test_what_a_person_has_put_in_its_place_is_not_deleted_with_the_rest(term: Term, resource: Resource) -> None:
    term.api.purge((resource, "ml", names.ROUTER))
    before = persons(term, resource)
    term.untell("ml")
    await term.settle()
    term.start()
    term.now += timedelta(minutes=10)
    await term.settle()
    assert term.there("ml") == {resource.kind}
    assert term.api.get(resource, "ml", names.ROUTER) == before


async def test_what_is_deleted_while_it_is_written_comes_back_with_two_pods(term: Term) -> None:
    def deleted(call: Call) -> None:
        term.client.before.clear()
        term.api.purge((DEPLOYMENTS, "ml", names.ROUTER))

    term.client.before.append(deleted)
    term.edit(DEPLOYMENTS, lambda o: o["spec"]["template"]["spec"].update(terminationGracePeriodSeconds=1))
    assert await term.settle() == [0.0]
    term.due.append(router_key("ml"))
    await term.settle()
    live = term.api.get(DEPLOYMENTS, "ml", names.ROUTER)
    assert live is not None
    assert live["spec"]["replicas"] == 2


@pytest.mark.parametrize("happens", ["an edit is put back", "they are unused"])
async def test_what_a_person_puts_in_its_place_while_it_is_written_is_left_alone(term: Term, happens: str) -> None:
    theirs: list[Object] = []

    def replaced(call: Call) -> None:
        term.client.before.clear()
        term.api.purge((DEPLOYMENTS, "ml", names.ROUTER))
        theirs.append(persons(term, DEPLOYMENTS))

    term.client.before.append(replaced)
    if happens == "they are unused":
        term.untell("ml")
    else:
        term.edit(DEPLOYMENTS, lambda o: o["spec"]["template"]["spec"].update(terminationGracePeriodSeconds=1))
    assert await term.settle() == [0.0]
    assert [term.api.get(DEPLOYMENTS, "ml", names.ROUTER)] == theirs


@pytest.mark.parametrize("resource", [SERVICE_ACCOUNTS, ROLE_BINDINGS], ids=lambda r: r.kind)
async def test_what_a_person_has_put_in_place_of_what_is_not_watched_is_left_alone(
    term: Term, resource: Resource
) -> None:
    term.api.purge((resource, "ml", names.ROUTER))
    before = persons(term, resource)
    term.now += timedelta(seconds=LOOK_AGAIN)
    term.due.append(router_key("ml"))
    assert await term.settle() == [0.0]
    term.due.append(router_key("ml"))
    with pytest.raises(PassRefused, match="none of Podium's"):
        await term.settle()
    assert term.api.get(resource, "ml", names.ROUTER) == before


OTHER = {"lease_name": "gold", "router_image": "podium/router:2"}


async def test_installations_that_are_divided_by_label_keep_the_routers_of_their_own_namespaces() -> None:
    term = Term(selects=lambda labels: "tier" not in labels)
    gold = Term(beside=term, selects=lambda labels: "tier" in labels, **OTHER)
    term.tell("ml")
    term.tell("gold", tier="gold")

    for each in (term, gold, term, gold):
        each.due += each.routers.keys()
        await each.settle()

    assert (term.image("ml"), term.image("gold")) == ("podium/router:1", "podium/router:2")


async def test_a_ModelDeployment_that_comes_after_what_tells_of_it_has_routers() -> None:
    term = Term(selects=lambda labels: False)
    term.tell("ml")
    await term.settle()
    assert term.there("ml") == set()

    term.selects = lambda labels: True
    term.edit(MODEL_DEPLOYMENTS, lambda o: o["metadata"].update(labels={"tier": "gold"}), name="fraud")
    await term.settle()

    assert "Deployment" in term.there("ml")


async def test_of_two_installations_the_one_that_came_first_leaves_the_routers_and_says_the_way_out(term: Term) -> None:
    other = Term(beside=term, **OTHER)
    await other.settle()
    assert term.image("ml") == "podium/router:2"

    for _ in range(3):
        with pytest.raises(PassRefused, match=r"installation .*/gold .* kubectl annotate deployment .*installation-$"):
            await term.settle()
        term.due.append(router_key("ml"))
        other.due.append(router_key("ml"))
        await other.settle()

    assert term.image("ml") == "podium/router:2"


async def test_once_a_person_says_whose_the_routers_are_that_installation_keeps_them(term: Term) -> None:
    other = Term(beside=term, **OTHER)
    await other.settle()
    term.edit(DEPLOYMENTS, lambda o: o["metadata"]["annotations"].pop(names.ANNOTATION_INSTALLATION))

    await term.settle()

    assert term.image("ml") == "podium/router:1"
    with pytest.raises(PassRefused, match="installation podium-system/podium of Podium"):
        await other.settle()


async def test_the_next_version_of_an_installation_or_its_successor_keeps_its_routers(term: Term) -> None:
    for settings in ({"router_image": "podium/router:2"}, {"router_image": "podium/router:3", "lease_name": "new"}):
        term.start(**settings)
        await term.settle()
        assert term.image("ml") == settings["router_image"]
        term.roll("ml")
        await term.settle()


def persons(term: Term, resource: Resource) -> Object:
    """An object of the routers' name that somebody else has made."""
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {}, "spec": {}}}
    obj = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": names.ROUTER, "namespace": "ml"},
    }
    return term.api.create({**obj, "spec": spec} if resource is DEPLOYMENTS else obj, "kubectl")


async def test_ten_minutes_after_the_last_one_they_are_gone_whoever_leads_then(term: Term) -> None:
    term.untell("ml")
    assert await term.settle() != []
    assert term.there("ml") == {r.kind for r in ALL}
    term.start()
    term.now += timedelta(minutes=9)
    assert await term.settle() == [60.0]
    term.now += timedelta(minutes=1)
    term.due.append(router_key("ml"))
    await term.settle()
    assert term.there("ml") == set()
    assert term.routers.keys() == []


@pytest.mark.parametrize("resource", ALL, ids=lambda resource: resource.kind)
async def test_whichever_deletion_is_not_answered_nothing_of_them_is_left(term: Term, resource: Resource) -> None:
    def refuse(call: Call) -> None:
        if call.verb == "delete" and call.resource is resource:
            term.client.before.clear()
            raise ApiError(503, "ServiceUnavailable", "no")

    term.untell("ml")
    await term.settle()
    term.now += timedelta(minutes=11)
    term.client.before.append(refuse)
    term.due.append(router_key("ml"))
    with pytest.raises(ApiError):
        await term.settle()
    term.start()
    await term.settle()
    assert term.there("ml") == set()


@pytest.mark.parametrize("restart", [False, True])
async def test_if_a_person_deletes_their_Deployment_the_rest_goes_at_once(term: Term, restart: bool) -> None:
    term.untell("ml")
    await term.settle()
    term.api.delete(DEPLOYMENTS, "ml", names.ROUTER)
    if restart:
        term.start()
    await term.settle()
    assert term.there("ml") == set()
    assert term.routers.keys() == []


async def test_what_was_made_of_them_before_a_quota_refused_the_rest_goes_with_the_last_that_needs_them() -> None:
    term = Term()

    def refuse(call: Call) -> None:
        if call.verb in ("create", "apply") and call.resource is not SERVICE_ACCOUNTS:
            raise ApiError(403, "Forbidden", "exceeded quota")

    term.client.before.append(refuse)
    term.tell("ml")
    with pytest.raises(PassRefused):
        await term.settle()
    assert term.there("ml") == {"ServiceAccount"}
    term.untell("ml")
    term.due.append(router_key("ml"))
    await term.settle()
    assert term.there("ml") == set()


async def test_who_comes_back_within_ten_minutes_finds_them_and_the_time_begins_anew(term: Term) -> None:
    term.untell("ml")
    await term.settle()
    term.now += timedelta(minutes=9)
    term.tell("ml")
    await term.settle()
    term.untell("ml")
    await term.settle()
    term.now += timedelta(minutes=9)
    term.due.append(router_key("ml"))
    await term.settle()
    assert term.there("ml") == {r.kind for r in ALL}


@pytest.mark.parametrize("stamp", ["9999-12-31T23:59:59+00:00", "2031-01-01T00:00:00+00:00", "2029-01-01", "never"])
async def test_a_stamp_that_nobody_of_Podium_wrote_begins_their_last_ten_minutes(term: Term, stamp: str) -> None:
    term.untell("ml")
    await term.settle()

    def forge(obj: Object) -> None:
        obj["metadata"]["annotations"][names.ANNOTATION_UNUSED_SINCE] = stamp

    term.api.update(DEPLOYMENTS, "ml", names.ROUTER, forge, "kubectl")
    assert (await term.settle())[0] == 600.0
    term.now += timedelta(minutes=10)
    term.due.append(router_key("ml"))
    await term.settle()
    assert term.there("ml") == set()


@pytest.mark.parametrize("controlled", [True, False])
async def test_what_somebody_else_calls_routers_elsewhere_keeps_no_version_from_a_namespace(
    term: Term, controlled: bool
) -> None:
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u", "controller": True}
    meta = {"name": names.ROUTER, "namespace": "theirs", "labels": names.router_labels()}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {}, "spec": {}}}
    meta |= {"ownerReferences": [owner]} if controlled else {}
    term.api.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}, "kubectl")
    term.roll("ml")
    term.start(router_image="podium/router:2")
    await term.settle()
    assert term.image("ml") == "podium/router:2"


async def test_a_new_version_of_the_routers_goes_to_one_namespace_at_a_time(term: Term) -> None:
    term.tell("other")
    await term.settle()
    term.roll("other")
    await term.settle()

    term.start(router_image="podium/router:2")
    assert await term.settle() == [5.0]
    assert (term.image("ml"), term.image("other")) == ("podium/router:2", "podium/router:1")
    term.due += term.routers.keys()
    assert await term.settle() == [5.0]
    assert term.image("other") == "podium/router:1"

    term.start(router_image="podium/router:2")
    assert await term.settle() == [5.0], "whoever leads then sees that one is under way"
    assert term.image("other") == "podium/router:1"

    term.roll("ml")
    term.due += term.routers.keys()
    await term.settle()
    assert term.image("other") == "podium/router:2"


async def test_a_namespace_whose_routers_do_not_come_up_is_waited_for_ten_minutes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    term = Term()
    for namespace in ("ml", "nn", "other"):
        term.tell(namespace)
    await term.settle()
    term.roll("other")
    term.start(router_image="podium/router:2")
    await term.settle()
    assert term.image("other") == "podium/router:1", "those of ml and nn are not complete"

    term.now += timedelta(seconds=WAITED_FOR)
    term.due += term.routers.keys()
    await term.settle()
    assert term.image("other") == "podium/router:2"
    assert "kubectl -n ml describe deployment podium-router" in caplog.text


async def test_passes_of_two_namespaces_at_the_same_time_replace_the_routers_of_one() -> None:
    term = Term()
    for namespace in ("ml", "other"):
        term.tell(namespace)
    await term.settle()
    for namespace in ("ml", "other"):
        term.roll(namespace)
    term.start(router_image="podium/router:2", client=OneMoment)

    await asyncio.gather(*(term.routers.reconcile(router_key(namespace)) for namespace in ("ml", "other")))

    assert {term.image("ml"), term.image("other")} == {"podium/router:1", "podium/router:2"}


async def test_in_namespaced_mode_the_chart_has_bound_them() -> None:
    term = Term(watch_namespaces=("ml",))
    term.tell("ml")
    await term.settle()
    assert term.there("ml") == {r.kind for r in ALL} - {"RoleBinding"}


async def test_what_the_API_server_refuses_for_good_is_tried_again_later(term: Term) -> None:
    term.client.faults.append(ApiError(403, "Forbidden", "exceeded quota"))
    term.api.delete(PDBS, "ml", names.ROUTER)
    with pytest.raises(PassRefused, match="exceeded quota"):
        await term.settle()


async def test_a_persons_ConfigMap_with_the_label_makes_no_routers() -> None:
    term = Term()
    labels = {names.LABEL_ROUTER: names.ROUTING, names.LABEL_MODEL: "fraud"}
    meta = {"name": "theirs", "namespace": "ml", "labels": labels}
    term.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"routing.json": "{}"}}, "x")
    await term.settle()
    assert term.there("ml") == set()


def test_settings_of_router_pods_that_cannot_be_used_are_named() -> None:
    with pytest.raises(InvalidRouterPods, match=r"router_pods: .*nonsense"):
        Term(router_pods='{"nonsense": 1}')
