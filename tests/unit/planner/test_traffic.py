"""A Split is shares of 10,000; a router says whether it is applied: yes, no, or not known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.api.v1alpha1 import Traffic
from podium.kube.resources import SERVICES
from podium.manifests.owner import Owner
from podium.reconcile.routers import ROUTERS, Ask, Seen
from podium.reconcile.writes import Apply, Stage
from podium.rollout.moment import Moment
from podium.rollout.traffic import WHOLE, Applied, Endpoints, Split, Weighted
from tests.unit.planner.given import BLUE_GREEN, serving, updating
from tests.unit.planner.world import NAME, NAMESPACE, START, model

PODS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 10**6), min_size=1)


@given(PODS)
def test_shares_by_pods_sum_to_10000_and_nobody_who_takes_part_has_none(pods: dict[str, int]) -> None:
    split = Split.by_pods(pods)
    assert sum(split.weights.values()) == WHOLE
    assert set(split.weights) == set(pods)
    assert min(split.weights.values()) >= 1


@given(PODS)
def test_shares_by_pods_are_within_a_few_parts_of_the_exact_ones(pods: dict[str, int]) -> None:
    total = sum(pods.values())
    if total:
        off = [abs(weight - WHOLE * pods[name] / total) for name, weight in Split.by_pods(pods).weights.items()]
        assert max(off) <= len(pods)


@pytest.mark.parametrize("weights", [{"a": 9999}, {"a": 10001}, {"a": 10000, "b": 0}, {"a": 10001, "b": -1}])
def test_weights_that_are_no_shares_are_refused(weights: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="10000"):
        Split(weights)


@pytest.mark.parametrize(
    ("listed", "split", "applied"),
    [
        ({"a": 2}, Split.to("a"), Applied.YES),
        ({"a": 2, "b": 0}, Split.to("a"), Applied.YES),
        ({"a": 2, "b": 1}, Split.to("a"), Applied.NO),
        ({"b": 1}, Split.to("a"), Applied.NO),
        ({"a": 2, "b": 1}, Split.by_pods({"a": 2, "b": 1}), Applied.YES),
        ({"a": 2}, Split.by_pods({"a": 2, "b": 1}), Applied.NO),
        ({}, Split.to("a"), Applied.UNKNOWN),
    ],
)
def test_without_a_router_the_EndpointSlices_tell_whether_a_split_is_applied(
    listed: dict[str, int], split: Split, applied: Applied
) -> None:
    assert Endpoints(listed).applied(split) is applied


def asked(split: Split) -> Ask:
    ports = {"a": {"http": 8080}, "b": {"http": 8080}}
    owner, moment, seen = Owner(NAME, NAMESPACE, "uid"), Moment(START), Seen(NAME, (), ())
    return Ask(owner, split, ports, "a", Traffic(), moment, seen, Endpoints())


def test_of_the_weights_a_Service_keeps_who_has_any() -> None:
    found = {}
    for split in (Split.to("a"), Split.by_pods({"a": 1, "b": 1})):
        writes = list(ROUTERS["None"].writes(asked(split)))
        assert [write.stage for write in writes] == [Stage.TRAFFIC]
        action = writes[0].action
        assert isinstance(action, Apply)
        found[split.sole] = action.obj["spec"]["selector"].get("podium.dev/revision")
    assert found == {"a": "a", None: None}


@given(PODS, PODS)
def test_who_has_no_pod_gives_its_share_to_those_who_have_some(pods: dict[str, int], capacity: dict[str, int]) -> None:
    split = Split.by_pods(pods, preview="x").within(capacity)
    able = {name for name in pods if capacity.get(name)}
    assert set(split.weights) == (able or set(pods))
    assert sum(split.weights.values()) == WHOLE
    assert split.preview == "x"


BOTH = Split.by_pods({"a": 1, "b": 3})


@pytest.mark.parametrize(
    ("said", "direct", "applied"),
    [
        (({"a": 2500, "b": 7500}, {"a": 2500, "b": 7500}), {}, Applied.YES),
        (({"a": 2500, "b": 7500, "c": 0},), {}, Applied.YES),
        (({"a": 2500, "b": 7500}, {"a": 2499, "b": 7501}), {}, Applied.NO),
        (({"a": 2500, "b": 7500}, {}), {}, Applied.NO),
        (({"a": 2500, "b": 7500}, None), {}, Applied.UNKNOWN),
        ((), {}, Applied.UNKNOWN),
        (({"a": 2500, "b": 7500},), {"a": 1}, Applied.NO),
    ],
    ids=["all", "who has nothing counts for nothing", "one differs", "one knows nothing", "one is silent", "none",
         "pods are listed, too"],
)  # fmt: skip
def test_weights_are_applied_when_every_router_says_so_and_nobody_goes_another_way(
    said: tuple[dict[str, int] | None, ...], direct: dict[str, int], applied: Applied
) -> None:
    traffic = Weighted(weighted=True, direct=direct, routers=1, said=said, capacity={"a": 1, "b": 3})
    assert traffic.applied(BOTH) is applied


def test_routers_that_keep_to_a_split_are_counted_and_without_routers_there_is_nobody_to_count() -> None:
    kept = {"a": 2500, "b": 7500}
    said = (kept, kept | {"c": 0}, {"a": WHOLE}, {}, None)
    assert Weighted(True, {}, 5, said, {"a": 1, "b": 3}).keepers(BOTH) == (2, 5)
    assert Weighted(True, {}, 0, (), {}).keepers(BOTH) == (0, 0)
    assert Weighted(False, {"a": 1}, 0, said, {}).keepers(BOTH) is None
    assert Endpoints({"a": 1, "b": 3}).keepers(BOTH) is None


def test_without_a_router_behind_the_Service_nothing_is_known() -> None:
    said = ({"a": 2500, "b": 7500},)
    assert Weighted(True, {}, 0, said, {"a": 1, "b": 3}).applied(BOTH) is Applied.UNKNOWN


def test_a_router_that_does_not_say_may_send_requests_to_anybody_and_surely_to_nobody() -> None:
    traffic = Weighted(True, {}, 2, ({"a": WHOLE}, None), {"a": 1, "b": 1})
    assert traffic.reaches("b")
    assert not traffic.serves("a")


def test_who_has_left_the_routers_is_done_once_they_send_nobody_elsewhere() -> None:
    def left(*said: dict[str, int] | None) -> Applied:
        return Weighted(False, {"a": 2}, 0, said, {"a": 2, "b": 1}).applied(Split.to("a"))

    assert left({"a": WHOLE}) is Applied.YES
    assert left({"a": 1, "b": 9_999}) is Applied.NO
    assert left(None) is Applied.UNKNOWN


def test_a_RollingUpdate_gives_both_a_share_and_BlueGreen_all_to_the_champion() -> None:
    world = updating(replicas=4)
    assert world.selector() is not None
    assert "podium.dev/revision" not in (world.selector() or {})
    green = serving(replicas=2, rollout=BLUE_GREEN)
    green.edit(model=model("2"))
    green.until(lambda: green.live(SERVICES, f"{NAME}-preview") is not None)
    assert (green.selector() or {})["podium.dev/revision"] == green.revision("1")
