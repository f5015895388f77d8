"""The pod's share of the node's disk: what a new user's cluster takes, and no limit that ends it for its /tmp."""

from typing import Any

import pytest

from podium.manifests.disk import quantity
from podium.manifests.errors import Unresolvable
from podium.manifests.quantities import whole
from tests.unit.manifests.examples import MODEL, builtin, pod, runtime, spec

DISK = "ephemeral-storage"


def disk(container: dict[str, Any]) -> tuple[str | None, str | None]:
    """(request, limit) of a container."""
    resources = container["resources"]
    return resources.get("requests", {}).get(DISK), resources.get("limits", {}).get(DISK)


def shares(user: Any, run: Any = None) -> tuple[tuple[str | None, str | None], tuple[str | None, str | None]]:
    """(request, limit) of the fetcher and of the model container."""
    made = pod(user, run)
    return disk(made["initContainers"][0]), disk(made["containers"][0])


def sized(size: str, **fields: Any) -> Any:
    return spec(model=MODEL | {"storage": {"sizeLimit": size}}, **fields)


@pytest.mark.parametrize("name", ["onnxruntime", "torchserve"])
def test_by_default_a_node_with_a_disk_of_20_gib_takes_three_pods(name: str) -> None:
    made = pod(spec(model={"uri": "s3://m/7/net.mar"}, runtime={"name": name}), builtin(name))

    for container in (*made["initContainers"], *made["containers"]):
        request, limit = disk(container)
        assert request is not None
        assert limit is not None
        # of 20 GiB some 17 are for pods on a small cloud node; LimitRanges and quotas look at limits
        assert whole(request) * 3 <= whole(limit) * 3 <= 17 * 2**30


def test_request_and_limit_of_the_fetcher_are_the_models_largest_size() -> None:
    fetcher, _ = shares(sized("3Gi"))

    assert fetcher == ("3Gi", "3Gi")


def test_the_pod_may_use_a_gibibyte_more_for_its_tmp_and_logs() -> None:
    """Kubelet's limit for the pod is the larger of the two containers' limits, and counts all emptyDirs."""
    assert shares(sized("3Gi"))[1] == ("3Gi", "4Gi")
    assert shares(sized("500Mi"))[1] == ("500Mi", "1524Mi")


def test_where_the_runtime_unpacks_the_model_it_may_lie_twice() -> None:
    assert shares(sized("3Gi"), runtime(layout="Store"))[1] == ("3Gi", "7Gi")


def test_emptydirs_of_the_users_come_on_top() -> None:
    cache = {"name": "cache", "emptyDir": {"sizeLimit": "20Gi"}}
    memory = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}

    assert shares(sized("3Gi", podTemplate={"volumes": [cache, memory, claim]}))[1] == ("3Gi", "24Gi")


def test_one_without_a_limit_leaves_the_pod_without_one() -> None:
    """The fetcher's would be the whole pod's."""
    made = shares(sized("3Gi", podTemplate={"volumes": [{"name": "cache", "emptyDir": {}}]}))

    assert made == (("3Gi", None), (None, None))


@pytest.mark.parametrize(
    ("theirs", "fetcher", "model"),
    [
        ({"limits": {DISK: "12Gi"}}, ("3Gi", "12Gi"), (None, "12Gi")),
        ({"requests": {DISK: "1Gi"}}, ("3Gi", None), ("1Gi", None)),
    ],
)
def test_what_the_user_says_of_disk_is_taken_as_it_is(theirs: Any, fetcher: Any, model: Any) -> None:
    assert shares(sized("3Gi", runtime={"resources": theirs})) == (fetcher, model)
    assert shares(sized("3Gi"), runtime(resources=theirs)) == (fetcher, model)


def test_a_disk_limit_below_the_models_own_room_is_refused() -> None:
    user = spec(runtime={"resources": {"limits": {DISK: "1Gi"}}})

    with pytest.raises(Unresolvable, match=r"ephemeral-storage: 1Gi is less than 2Gi, which spec.model.storage.sizeL"):
        pod(user)


def test_without_a_model_to_fetch_no_disk_is_asked_for() -> None:
    assert disk(pod(spec(model={}))["containers"][0]) == (None, None)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (1, "1"), (2**10, "1Ki"), (3 * 2**30, "3Gi"), (2**30 + 2**20, "1025Mi"), (2**40, "1Ti")],
)
def test_bytes_are_written_as_the_api_server_writes_them(size: int, text: str) -> None:
    assert quantity(size) == text
    assert whole(text) == size
