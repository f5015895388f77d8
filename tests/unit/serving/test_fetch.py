"""The fetcher's promises that hold for every scheme, shown with pvc://: placement, digest, limits, re-runs."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.unit.serving.harness import fetch

DIGEST_COMMAND = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum"


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    """A claim that holds a file and a folder of three files."""
    for name, content in {
        "model.onnx": "one",
        "7/model.onnx": "two",
        "7/data/a b": "three",
        "7/data-1": "four",
    }.items():
        (tmp_path / "pvc" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pvc" / name).write_text(content)
    (tmp_path / "models").mkdir()
    return tmp_path


def files(folder: Path) -> dict[str, str]:
    """Everything under the folder but the fetcher's own record."""
    found = (each for each in folder.rglob("*") if each.is_file() and not each.name.endswith(".fetched"))
    return {str(each.relative_to(folder)): each.read_text() for each in found}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_file_goes_into_the_folder_under_its_own_name(claim: Path) -> None:
    result = fetch(claim, "pvc://claim/model.onnx")
    assert result.code == 0
    assert files(claim / "models") == {"model/model.onnx": "one"}
    assert result.message.items() >= {
        "result": "done", "uri": "pvc://claim/model.onnx", "digest": f"sha256:{sha256('one')}", "bytes": 3, "files": 1,
        "attempts": 1, "reused": False,
    }.items()  # fmt: skip
    assert result.message["seconds"] < 10


def test_a_folder_is_brought_whole_and_its_digest_is_the_documented_command(claim: Path) -> None:
    result = fetch(claim, "pvc://claim/7")
    command = subprocess.run(DIGEST_COMMAND, shell=True, cwd=claim / "pvc" / "7", capture_output=True, text=True)
    assert result.code == 0
    assert files(claim / "models") == {"model/model.onnx": "two", "model/data/a b": "three", "model/data-1": "four"}
    assert result.message["digest"] == f"sha256:{command.stdout.split()[0]}"
    assert (result.message["files"], result.message["bytes"]) == (3, 12)


@pytest.mark.parametrize("spelling", ["{}", "sha256:{}"])
def test_a_right_checksum_is_accepted(claim: Path, spelling: str) -> None:
    pin = spelling.format(sha256("one"))
    assert fetch(claim, "pvc://claim/model.onnx", PODIUM_MODEL_SHA256=pin).code == 0


def test_a_wrong_checksum_is_permanent_and_leaves_nothing(claim: Path) -> None:
    pin = "0" * 64
    result = fetch(claim, "pvc://claim/model.onnx", PODIUM_MODEL_SHA256=pin)
    assert result.code == 65
    assert result.message.items() >= {
        "result": "failed", "reason": "ChecksumMismatch", "permanent": True, "expected": pin, "got": sha256("one"),
    }.items()  # fmt: skip
    assert f"expected sha256 {pin}, got {sha256('one')}" in result.message["message"]
    assert list((claim / "models").iterdir()) == []


def test_layout_file_makes_the_path_the_file(claim: Path) -> None:
    path = claim / "models" / "fraud.mar"
    variables = {"PODIUM_MODEL_LAYOUT": "File", "PODIUM_MODEL_PATH": path}
    assert fetch(claim, "pvc://claim/model.onnx", **variables).code == 0
    assert path.read_text() == "one"


def test_layout_file_takes_a_folder_of_one_file(claim: Path) -> None:
    assert fetch(claim, "pvc://claim/7/data", PODIUM_MODEL_LAYOUT="File").code == 0
    assert (claim / "models" / "model").read_text() == "three"


def test_layout_file_refuses_a_folder_of_several(claim: Path) -> None:
    result = fetch(claim, "pvc://claim/7", PODIUM_MODEL_LAYOUT="File")
    assert (result.code, result.message["reason"]) == (65, "NotAFile")
    assert "holds 3 files" in result.message["message"]


def test_the_path_may_lie_deeper_than_what_is_there(claim: Path) -> None:
    path = claim / "models" / "fraud" / "1"
    assert fetch(claim, "pvc://claim/7", PODIUM_MODEL_PATH=path).code == 0
    assert (path / "model.onnx").read_text() == "two"


def test_a_second_run_keeps_what_the_first_has_placed(claim: Path) -> None:
    first = fetch(claim, "pvc://claim/7")
    (claim / "pvc" / "7" / "model.onnx").unlink()
    second = fetch(claim, "pvc://claim/7")
    assert (second.code, second.message["reused"]) == (0, True)
    assert second.message["digest"] == first.message["digest"]


def test_a_second_run_replaces_what_is_not_whole_any_more(claim: Path) -> None:
    fetch(claim, "pvc://claim/7")
    (claim / "models" / "model" / "model.onnx").write_text("tampered")
    result = fetch(claim, "pvc://claim/7")
    assert (result.code, result.message["reused"]) == (0, False)
    assert (claim / "models" / "model" / "model.onnx").read_text() == "two"


def test_a_second_run_of_another_uri_replaces_the_first(claim: Path) -> None:
    fetch(claim, "pvc://claim/7")
    fetch(claim, "pvc://claim/model.onnx")
    assert files(claim / "models") == {"model/model.onnx": "one"}


def test_what_a_killed_run_left_behind_is_cleared_away(claim: Path) -> None:
    leftover = claim / "models" / ".model.fetching" / "half"
    leftover.parent.mkdir()
    leftover.write_text("half a mod")
    assert fetch(claim, "pvc://claim/model.onnx").code == 0
    assert files(claim / "models") == {"model/model.onnx": "one"}


def test_a_model_over_the_limit_is_refused_before_it_is_copied(claim: Path) -> None:
    result = fetch(claim, "pvc://claim/7", PODIUM_MODEL_MAX_BYTES=11)
    assert (result.code, result.message["reason"]) == (65, "TooLarge")
    assert "has 12 bytes or more, allowed are 11; raise spec.model.storage.sizeLimit" in result.message["message"]
    assert fetch(claim, "pvc://claim/7", PODIUM_MODEL_MAX_BYTES=12).code == 0


@pytest.mark.parametrize(
    ("uri", "reason", "sentence"),
    [
        ("pvc://claim/8", "NotFound", "the claim claim has no '8'; put the model there or correct spec.model.uri"),
        ("pvc://claim/model.onnx/x", "NotFound", "the claim claim has no 'model.onnx/x'"),
        ("pvc://claim/empty", "NotFound", "empty of the claim claim holds no file"),
        ("pvc://claim/../secret", "BadURI", "'..' is not allowed in a path"),
        ("pvc:///7", "BadURI", "no claim is named; expected pvc://claim/path"),
        ("gs://bucket/7", "UnsupportedScheme", "cannot fetch 'gs'; expected s3://, https://, pvc://"),
        ("/models/7", "UnsupportedScheme", "cannot fetch 'a path'"),
        ("http://example.com/a", "BadURI", "plain http is not allowed here; use https"),
        ("https://user:pa55@example.com/a", "BadURI", "must not carry a user name or password"),
        ("https://example.com/a/", "BadURI", "names no file"),
        ("s3://bucket", "BadURI", "no key is named"),
        ("s3://[bucket/a", "BadURI", "not a valid URI"),
        ("pvc://claim/out", "UnsafePath", "is a link that leads out of the claim"),
        ("pvc://claim/linked", "UnsafePath", "'current' is a link to a folder, which is not followed"),
    ],
)
def test_what_no_retry_can_mend_is_permanent_and_says_what_to_do(
    claim: Path, uri: str, reason: str, sentence: str
) -> None:
    (claim / "pvc" / "empty").mkdir()
    (claim / "pvc" / "out").symlink_to("/etc/hostname")
    (claim / "pvc" / "linked").mkdir()
    (claim / "pvc" / "linked" / "current").symlink_to("../7")
    result = fetch(claim, uri, PODIUM_FETCH_ATTEMPTS=3)
    assert (result.code, result.message["reason"], result.message["permanent"]) == (65, reason, True)
    assert sentence in result.message["message"]
    assert result.message["attempts"] == 1
    assert "pa55" not in result.output


def test_a_link_inside_the_claim_is_followed(claim: Path) -> None:
    (claim / "pvc" / "current").symlink_to("7")
    (claim / "pvc" / "7" / "latest").symlink_to("model.onnx")
    assert fetch(claim, "pvc://claim/current").code == 0
    assert (claim / "models" / "model" / "latest").read_text() == "two"
    assert not (claim / "models" / "model" / "latest").is_symlink()


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("PODIUM_MODEL_URI", "", "PODIUM_MODEL_URI is not set: it is required"),
        ("PODIUM_MODEL_SHA256", "abc", "PODIUM_MODEL_SHA256 is 'abc': expected 64 hexadecimal digits"),
        ("PODIUM_MODEL_LAYOUT", "Flat", "PODIUM_MODEL_LAYOUT is 'Flat': expected one of Folder, File"),
        ("PODIUM_MODEL_PATH", "models", "PODIUM_MODEL_PATH is 'models': expected an absolute path"),
        ("PODIUM_ALLOW_HTTP", "yes", "PODIUM_ALLOW_HTTP is 'yes': expected true or false"),
        ("PODIUM_CA_FILE", "/nowhere", "PODIUM_CA_FILE is '/nowhere': No such file or directory"),
    ],
)
def test_a_wrong_variable_is_named(claim: Path, variable: str, value: str, sentence: str) -> None:
    result = fetch(claim, "pvc://claim/7", **{variable: value})
    assert (result.code, result.message["reason"]) == (65, "InvalidConfiguration")
    assert sentence in result.message["message"]


def test_a_place_that_cannot_be_written_is_named(claim: Path) -> None:
    result = fetch(claim, "pvc://claim/7", PODIUM_MODEL_PATH="/proc/models/model")
    assert result.code != 0
    assert "/proc/models" in result.message["message"]


def test_a_full_disk_is_a_passing_failure(claim: Path) -> None:
    mounted = claim / "tiny"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mounted], check=True)
    try:
        (claim / "pvc" / "big").write_bytes(os.urandom(200_000))
        result = fetch(claim, "pvc://claim/big", PODIUM_MODEL_PATH=mounted / "model")
        assert (result.code, result.message["reason"], result.message["permanent"]) == (75, "DiskFull", False)
        assert "raise spec.model.storage.sizeLimit" in result.message["message"]
        assert list(mounted.iterdir()) == []
    finally:
        subprocess.run(["umount", mounted], check=True)
