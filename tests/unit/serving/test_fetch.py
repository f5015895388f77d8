"""The fetcher's promises that hold for every scheme, shown with pvc://: placement, digest, limits, re-runs."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from podium.reconcile.symptoms import model_digest
from tests.unit.serving.harness import SOURCE, UNPRIVILEGED, fetch, start_fetch

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


@pytest.mark.parametrize("uri", ["pvc://claim/7", "pvc://claim"])
def test_a_name_that_is_not_utf_8_is_permanent_and_told(claim: Path, uri: str) -> None:
    (claim / "pvc" / "7" / os.fsdecode(b"caf\xe9")).write_text("five")
    result = fetch(claim, uri)
    assert (result.code, result.message["reason"]) == (65, "UnsafePath"), result.output
    assert result.message["message"].endswith("caf\\udce9' is not UTF-8; rename it")


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


def test_the_operator_reads_the_digest_from_its_last_words(claim: Path) -> None:
    for uri in ("pvc://claim/model.onnx", "pvc://claim/7"):
        result = fetch(claim, uri)
        ended = {"exitCode": result.code, "message": json.dumps(result.message)}
        status = {"initContainerStatuses": [{"name": "fetch", "state": {"terminated": ended}}]}

        assert model_digest({"status": status}) == result.message["digest"]


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


def projected(folder: Path, contents: dict[str, str]) -> None:
    """A folder as kubelet makes it of a ConfigMap or a projected volume."""
    for name, content in contents.items():
        real = folder / "..2026_11_26_10_00_00.1" / name
        real.parent.mkdir(parents=True, exist_ok=True)
        real.write_text(content)
        if not (folder / name.split("/")[0]).is_symlink():
            (folder / name.split("/")[0]).symlink_to(Path("..data") / name.split("/")[0])
    (folder / "..data").symlink_to("..2026_11_26_10_00_00.1")


def test_kubernetes_own_layout_of_a_volume_is_read_as_the_files_that_it_shows(claim: Path) -> None:
    projected(claim / "pvc" / "9", {"model.onnx": "one", "sub/weights": "two"})
    result = fetch(claim, "pvc://claim/9")
    assert result.code == 0, result.output
    assert files(claim / "models") == {"model/model.onnx": "one", "model/sub/weights": "two"}


def test_lost_and_found_is_passed_over_at_the_root_of_a_claim_alone(claim: Path) -> None:
    for folder in (claim / "pvc" / "lost+found", claim / "pvc" / "7" / "lost+found"):
        folder.mkdir()
        (folder / "a").write_text("found")
    assert fetch(claim, "pvc://claim/").message["files"] == 5
    assert "model/lost+found/a" not in files(claim / "models")
    os.chown(claim / "pvc" / "lost+found", 1, 1)
    (claim / "pvc" / "lost+found").chmod(0o700)
    result = fetch(claim, "pvc://claim/", prefix=UNPRIVILEGED, PODIUM_MODEL_PATH=claim / "models" / "again")
    assert result.code == 0, result.output


@pytest.mark.parametrize("closed", ["7/data/a b", "7/data", "7"])
@pytest.mark.parametrize("uri", ["pvc://claim/7", "pvc://claim/7/data/a b"])
def test_what_may_not_be_read_is_named(claim: Path, closed: str, uri: str) -> None:
    path = claim / "pvc" / closed
    os.chown(path, 1, 1)
    path.chmod(0o600)
    result = fetch(claim, uri, prefix=UNPRIVILEGED)
    assert (result.code, result.message["reason"]) == (65, "Forbidden"), result.output
    assert closed in result.message["message"]
    assert "Permission denied; it must be readable for the pod's user" in result.message["message"]


def leave(claim: Path, kind: str) -> Path:
    """Puts beside the models of folder 7 what some tool leaves that nobody could read; its name begins with a dot."""
    folder = claim / "pvc" / "7"
    if kind == "dangling link":  # Emacs' lock
        path = folder / ".#model.onnx"
        path.symlink_to("somebody@host.4711:1700000000")
    elif kind == "link out of the claim":
        path = folder / ".venv" / "python"
        path.parent.mkdir()
        path.symlink_to("/etc/hostname")
    elif kind == "link to a folder":
        path = folder / ".cache"
        path.symlink_to("data")
    elif kind == "pipe":
        path = folder / ".pipe"
        os.mkfifo(path)
    else:
        path = folder / ".Trash-0" / "a"
        path.parent.mkdir()
        path.write_text("gone")
        closed = path.parent if "folder" in kind else path
        os.chown(closed, 1, 1)
        closed.chmod(0o600 if "list" in kind else 0)
    return path


@pytest.mark.parametrize(
    "kind",
    ["dangling link", "link out of the claim", "link to a folder", "pipe", "closed folder", "list of a closed folder",
     "closed file"],
)  # fmt: skip
def test_what_tools_have_left_is_passed_over_where_it_cannot_be_read(claim: Path, kind: str) -> None:
    leave(claim, kind)
    result = fetch(claim, "pvc://claim/7", prefix=UNPRIVILEGED)
    assert result.code == 0, result.output
    assert files(claim / "models") == {"model/model.onnx": "two", "model/data/a b": "three", "model/data-1": "four"}


def test_what_tools_have_left_belongs_to_the_folder_where_it_can_be_read(claim: Path) -> None:
    (claim / "pvc" / "7" / ".artifact").write_text("five")
    assert fetch(claim, "pvc://claim/7", prefix=UNPRIVILEGED).message["files"] == 4


@pytest.mark.parametrize(("kind", "reason"), [("dangling link", "UnsafePath"), ("closed folder", "Forbidden")])
def test_a_folder_of_nothing_but_what_cannot_be_read_says_so(claim: Path, kind: str, reason: str) -> None:
    # A model may have a hidden name: then that it cannot be read is more than that there is none.
    name = leave(claim, kind).relative_to(claim / "pvc" / "7").parts[0]
    (claim / "pvc" / "8").mkdir()
    (claim / "pvc" / "7" / name).rename(claim / "pvc" / "8" / name)
    result = fetch(claim, "pvc://claim/8", prefix=UNPRIVILEGED)
    assert (result.code, result.message["reason"]) == (65, reason)
    assert name in result.message["message"]


def test_layout_file_counts_nothing_that_tools_have_left(claim: Path) -> None:
    for name in (
        "fraud.mar",
        ".ipynb_checkpoints/fraud-checkpoint.mar",
        ".DS_Store",
        "fraud.mar~",
        "__MACOSX/._fraud.mar",
    ):
        (claim / "pvc" / "10" / name).parent.mkdir(parents=True, exist_ok=True)
        (claim / "pvc" / "10" / name).write_text(name)
    assert fetch(claim, "pvc://claim/10", PODIUM_MODEL_LAYOUT="File").code == 0
    assert (claim / "models" / "model").read_text() == "fraud.mar"


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = "\n<!DOCTYPE html>\n<html><head><title>Sign in</title>"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (LFS, "it is a Git LFS pointer, not the file that it stands for; run `git lfs pull`"),
        (PAGE, "it is a web page, perhaps one to sign in; use a link that downloads the file without signing in"),
        ("<html lang=en>", "it is a web page"),
        ("\n<script>location.href = '/login'</script>", "it is a web page"),
        ("<Error><Code>NoSuchKey</Code></Error>", "it is an error message of a store or a web server, saved in the"),
        ('{"error": "Repository not found"}', "it is an error message of a store or a web server"),
        ("404 page not found\n", "it is an error message of a store or a web server"),
        ("", "it is empty (0 bytes); upload the model again"),
    ],
)
def test_what_is_no_model_for_any_runtime_is_told_from_its_first_bytes(
    claim: Path, content: str, sentence: str
) -> None:
    (claim / "pvc" / "model.onnx").write_text(content)
    result = fetch(claim, "pvc://claim/model.onnx")
    assert (result.code, result.message["reason"], result.message["permanent"]) == (65, "NotAModel", True)
    assert f"pvc://claim/model.onnx: no model: {sentence}" in result.message["message"]
    assert list((claim / "models").iterdir()) == []
    # Whoever pins it means it; and beside a model such a file does no harm.
    assert fetch(claim, "pvc://claim/model.onnx", PODIUM_MODEL_SHA256=sha256(content)).code == 0
    assert fetch(claim, "pvc://claim/").code == 0


# A process that kills itself at the nth change that it is about to make to the file system.
KILLER = """
import os, signal, sys
left = int(os.environ["KILL_AT"])
models = os.environ["KILL_IN"]
def hook(event, arguments):
    global left
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "ctypes.dlsym") or writes:
        if event == "ctypes.dlsym" or models in os.fsdecode(arguments[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
"""


@pytest.mark.parametrize("layout", ["Folder", "File"])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new(claim: Path, layout: str) -> None:
    (claim / "site").mkdir()
    (claim / "site" / "sitecustomize.py").write_text(KILLER)
    path = claim / "models" / "model"
    uris = ("pvc://claim/7", "pvc://claim/8") if layout == "Folder" else ("pvc://claim/7/data", "pvc://claim/8/data")
    shutil.copytree(claim / "pvc" / "7", claim / "pvc" / "8")
    (claim / "pvc" / "8" / "data" / "a b").write_text("new")
    variables = {"PODIUM_MODEL_LAYOUT": layout}

    def state() -> str:
        return (path / "data" / "a b" if layout == "Folder" else path).read_text()

    assert fetch(claim, uris[0], **variables).code == 0
    (claim / "models").rename(claim / "before")
    killed = 0
    while True:
        shutil.rmtree(claim / "models", ignore_errors=True)
        shutil.copytree(claim / "before", claim / "models")
        assert state() == "three"
        process = start_fetch(
            claim,
            uris[1],
            **variables,
            PYTHONPATH=f"{SOURCE}:{claim / 'site'}",
            KILL_AT=killed + 1,
            KILL_IN=claim / "models",
        )
        process.communicate(timeout=60)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        killed += 1
        assert state() in ("three", "new")
    assert state() == "new"
    assert killed > 5
