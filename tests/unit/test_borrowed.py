"""PODIUM_USE_CURRENT_CONTEXT=1: what the tests apply names the registry and the bucket of whoever has the cluster."""

import tempfile
from pathlib import Path

import pytest

from tests import stage
from tests.cluster.choice import choose
from tests.cluster.foreign import Borrowed, localized
from tests.cluster.progress import ClusterError
from tests.e2e import ground


@pytest.fixture
def _somebodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_USE_CURRENT_CONTEXT", "1")
    monkeypatch.setenv("PODIUM_IMAGE_REGISTRY", "registry.example.com")
    monkeypatch.setenv("PODIUM_BUCKET", "theirs")


@pytest.mark.usefixtures("_somebodys")
def test_images_and_models_come_from_where_they_are() -> None:
    assert stage.uri("digits", "1", "model.onnx") == "s3://theirs/digits/1/model.onnx"
    (runtime,) = (obj for obj in ground.example("custom-runtime") if obj["kind"] == "ModelRuntime")
    assert runtime["spec"]["image"] == "registry.example.com/podium/serving:dev"


def test_without_it_everything_is_as_it_is_written() -> None:
    text = "image: localhost/podium/serving:dev # s3://models/x"
    assert localized(text) == text


@pytest.mark.usefixtures("_somebodys")
def test_all_that_is_missing_is_named_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PODIUM_IMAGE_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    short = Path("/tmp/podium-none")
    cluster = choose(short)

    assert isinstance(cluster, Borrowed)
    with pytest.raises(ClusterError, match="AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, PODIUM_IMAGE"):
        cluster.up()
    assert not short.exists()


@pytest.mark.usefixtures("_somebodys")
def test_forgetting_the_context_leaves_a_cluster_of_our_own_in_the_same_folder_alone() -> None:
    with tempfile.TemporaryDirectory(prefix="podium-") as path:
        state, kubeconfig = Path(path, "state"), Path(path, "kubeconfig")
        state.mkdir()  # what a cluster of our own has for as long as it is there
        kubeconfig.write_text("ours")

        choose(Path(path)).down()
        assert kubeconfig.read_text() == "ours"

        state.rmdir()
        choose(Path(path)).down()
        assert not kubeconfig.exists()
