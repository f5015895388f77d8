"""The fetcher: injected for a model with a URI, never without, with resources that quotas accept."""

import re
from pathlib import Path
from typing import Any

import pytest

from podium.manifests.fetch import Fetcher
from podium.manifests.revision import resolve
from tests.unit.manifests.examples import MODEL, OWNER, model_container, pod, runtime, spec


def fetch(user: Any, run: Any = None) -> dict[str, Any]:
    (container,) = pod(user, run)["initContainers"]
    assert isinstance(container, dict)
    return container


def env(container: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in container["env"]}


def test_without_a_uri_there_is_no_fetcher_and_no_model_volume() -> None:
    made = pod(spec(model={}))

    assert "initContainers" not in made
    assert [volume["name"] for volume in made["volumes"]] == ["podium-tmp"]
    assert [mount["mountPath"] for mount in made["containers"][0]["volumeMounts"]] == ["/tmp"]


def test_the_model_is_fetched_into_a_bounded_volume_that_the_server_may_only_read() -> None:
    user = spec(model=MODEL | {"storage": {"sizeLimit": "3Gi"}})
    made = pod(user)

    assert {"name": "podium-models", "emptyDir": {"sizeLimit": "3Gi"}} in made["volumes"]
    assert {"name": "podium-models", "mountPath": "/models", "readOnly": True} in made["containers"][0]["volumeMounts"]
    assert {"name": "podium-models", "mountPath": "/models"} in fetch(user)["volumeMounts"]
    assert env(fetch(user))["PODIUM_MODEL_MAX_BYTES"] == str(3 * 2**30)


@pytest.mark.parametrize(
    ("layout", "uri", "fetched", "kind", "path"),
    [
        ("Folder", "s3://m/7", "/models/model", "Folder", "/models/model"),
        ("File", "s3://m/7/net.onnx", "/models/model.onnx", "File", "/models/model.onnx"),
        ("File", "s3://m/7", "/models/model", "File", "/models/model"),
        ("Store", "s3://m/7/net.mar", "/models/fraud.mar", "File", "/models"),
    ],
)
def test_each_layout_says_what_is_made_and_what_the_runtime_is_told(
    layout: str, uri: str, fetched: str, kind: str, path: str
) -> None:
    user, run = spec(model={"uri": uri}), runtime(layout=layout, args=["{{path}}"])

    assert env(fetch(user, run))["PODIUM_MODEL_PATH"] == fetched
    assert env(fetch(user, run))["PODIUM_MODEL_LAYOUT"] == kind
    assert model_container(user, run)["args"] == [path]


def test_the_pinned_digest_is_handed_over() -> None:
    assert env(fetch(spec(model=MODEL | {"sha256": "a" * 64})))["PODIUM_MODEL_SHA256"] == "a" * 64
    assert env(fetch(spec()))["PODIUM_MODEL_SHA256"] == ""


def test_credentials_go_to_the_fetcher_alone_and_are_not_optional() -> None:
    user = spec(model=MODEL | {"credentialsSecret": "s3-models"})

    assert fetch(user)["envFrom"] == [{"secretRef": {"name": "s3-models", "optional": False}}]
    assert env(fetch(user))["PODIUM_CREDENTIALS_SECRET"] == "s3-models"
    assert "envFrom" not in model_container(user)


def test_a_claim_is_mounted_read_only_in_the_fetcher() -> None:
    user = spec(model={"uri": "pvc://store/a/b"})

    claim = {"name": "podium-claim", "persistentVolumeClaim": {"claimName": "store", "readOnly": True}}
    assert claim in pod(user)["volumes"]
    assert {"name": "podium-claim", "mountPath": "/pvc", "readOnly": True} in fetch(user)["volumeMounts"]
    assert env(fetch(user))["PODIUM_PVC_PATH"] == "/pvc"


def test_the_fetcher_has_requests_and_limits() -> None:
    resources = fetch(spec())["resources"]

    assert {"cpu", "memory", "ephemeral-storage"} == set(resources["limits"]) == set(resources["requests"])


def test_whatever_switch_the_fetcher_reads_is_set_by_the_operator_and_never_by_the_Secret() -> None:
    package = Path("serving-image/src/podium_serving")
    sources = [*(package / "fetch").glob("*.py"), package / "termination.py"]
    read = {name for source in sources for name in re.findall(r"\bPODIUM_[A-Z0-9_]+", source.read_text())}

    made = env(fetch(spec(model=MODEL | {"credentialsSecret": "s3-models"})))

    assert {"PODIUM_ALLOW_HTTP", "PODIUM_CA_FILE", "PODIUM_TERMINATION_LOG"} <= read
    assert read - made.keys() == set()
    assert made["PODIUM_ALLOW_HTTP"] == made["PODIUM_CA_FILE"] == made["PODIUM_TERMINATION_LOG"] == ""


def test_the_proxy_is_the_administrators_word_and_its_address_is_allowed() -> None:
    fetcher = Fetcher(image="f:1", proxy="http://me:pw@10.1.2.3:3128", no_proxy=(".svc", "10.0.0.0/8"))

    made = env(resolve(OWNER, spec(), runtime(), fetcher, number=1).template["spec"]["initContainers"][0])

    assert made["HTTPS_PROXY"] == made["HTTP_PROXY"] == "http://me:pw@10.1.2.3:3128"
    assert made["NO_PROXY"] == ".svc,10.0.0.0/8"
    assert made["PODIUM_ALLOW_ADDRESSES"] == "10.1.2.3"
    assert Fetcher(image="f:1", proxy="proxy.corp:3128", allow_addresses=("a",)).allowed == ("a", "proxy.corp")


def test_without_a_proxy_a_Secret_brings_none_either() -> None:
    made = env(fetch(spec(model=MODEL | {"credentialsSecret": "s3-models"})))

    assert made["HTTPS_PROXY"] == made["HTTP_PROXY"] == made["NO_PROXY"] == ""


@pytest.mark.parametrize(("allowed", "value"), [((), ""), (("10.0.0.0/8", "models.corp"), "10.0.0.0/8,models.corp")])
def test_which_private_addresses_it_may_ask_is_the_administrators_word_and_never_the_Secrets(
    allowed: tuple[str, ...], value: str
) -> None:
    fetcher = Fetcher(image="f:1", allow_addresses=allowed)

    made = resolve(OWNER, spec(), runtime(), fetcher, number=1).template["spec"]["initContainers"][0]

    assert made["image"] == "f:1"
    assert env(made)["PODIUM_ALLOW_ADDRESSES"] == value
