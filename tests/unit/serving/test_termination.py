"""Termination messages as the operator reads them, of pods whose containers have a small part of what kubelet keeps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from podium.reconcile.lastwords import plain_words, said_by
from podium.reconcile.symptoms import died_of_requests, model_digest
from podium_serving import termination
from podium_serving.inference import InferRequest
from podium_serving.last_words import LastWords

AT = "2026-03-01T12:00:00Z"
DIGEST = f"sha256:{'a' * 64}"
PART = 12 * 1024 // 8
"""Bytes of a termination message that a kubelet keeps where a pod has eight containers, init containers included."""


def kept(path: Path) -> str:
    return path.read_bytes()[:PART].decode(errors="replace")


def died(message: str) -> dict[str, Any]:
    ended = {"exitCode": 139, "finishedAt": AT, "message": message}
    return {"status": {"containerStatuses": [{"name": "model", "lastState": {"terminated": ended}}]}}


@pytest.mark.parametrize("cores", [1, 8, 64])
@pytest.mark.parametrize("letter", ["a", "é", "名", "🎯", '"', "\x01"])
@pytest.mark.parametrize("axes", [1, 30])
def test_the_operator_reads_which_requests_ended_a_server_of_many_cores(
    tmp_path: Path, cores: int, letter: str, axes: int
) -> None:
    path = tmp_path / "termination"
    words = LastWords(path, cores + 1)
    feeds = {name: np.zeros((1,) * axes) for name in ("input_ids", "attention_mask", "token_type_ids")}
    for number in range(cores + 1):
        words.begin(InferRequest(f"request {number} {letter * 200}", feeds, ()))

    assert died_of_requests(died(kept(path))) == AT
    told = said_by({"message": kept(path)})["running"]
    assert len(told) >= min(cores + 1, 6)
    assert all(each["id"].startswith("request ") and letter in each["id"] for each in told)
    sentence = plain_words(kept(path))
    assert sentence.count('"request ') == min(cores + 1, 3)
    assert f"and {len(told) - 3} more" in sentence or cores == 1
    words.close()


def test_shapes_are_told_as_well_where_there_is_room_for_them(tmp_path: Path) -> None:
    path = tmp_path / "termination"
    words = LastWords(path, 65)
    feeds = {name: np.zeros((32, 512), np.bool_) for name in ("input_ids", "attention_mask", "token_type_ids")}
    words.begin(InferRequest("a" * 80, feeds, ()))
    assert f'"{"a" * 80}" (input_ids of shape 32 x 512, attention_mask of shape 32 x 512, ' in plain_words(kept(path))
    words.close()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PODIUM_TERMINATION_LOG", str(tmp_path / "termination"))
    return tmp_path / "termination"


@pytest.mark.parametrize("uri", [f"s3://models/{'a' * 1000}", f"s3://models/{'名' * 1000}"])
def test_the_operator_reads_how_a_fetcher_of_a_long_uri_ended(path: Path, uri: str) -> None:
    sentence = f"{uri}: sha256 differs from spec.model.sha256. {'More of it. ' * 20}"
    termination.write(termination.failed("ChecksumMismatch", sentence, permanent=True, uri=uri, attempts=1))
    said = said_by({"message": kept(path)})
    assert (said["reason"], said["permanent"]) == ("ChecksumMismatch", True)
    assert said["message"].startswith("s3://models/")
    assert "sha256 differs" in said["message"] or "名" in uri

    termination.write({"result": "done", "uri": uri, "digest": DIGEST})
    ended = {"exitCode": 0, "message": kept(path)}
    status = {"initContainerStatuses": [{"name": "fetch", "state": {"terminated": ended}}]}
    assert model_digest({"status": status}) == DIGEST
