"""What the caller reads when the API server says no, or says nothing."""

import json
import socket
from pathlib import Path

import pytest

from podium.cli.app import run
from podium.cli.cluster import Cluster
from podium.cli.errors import Exit, Unreachable
from podium.cli.refusals import Asked, refusal

PATCH = Asked("patch", "modeldeployments", "ml", "fraud")
LIST = Asked("list", "modeldeployments", None)


def status(message: str, name: str = "") -> str:
    return json.dumps({"kind": "Status", "message": message, "details": {"name": name} if name else {}})


def denied(verb: str, resource: str) -> str:
    return status(f'{resource} is forbidden: User "jane" cannot {verb} resource "{resource}" in API group', "fraud")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            PATCH,
            "modeldeployment fraud: you may not patch modeldeployments in namespace ml: ask for role podium-edit",
        ),
        (
            LIST,
            "you may not list modeldeployments in all namespaces: ask for role podium-view in all of them, or name a "
            "namespace with -n",
        ),
        (
            Asked("watch", "modeldeployments", "ml"),
            "you may not watch modeldeployments in namespace ml: ask for role podium-view",
        ),
        (
            Asked("get", "configmaps", "ml", "fraud-x-ledger"),
            "configmap fraud-x-ledger: you may not get configmaps in namespace ml: ask for role view",
        ),
    ],
)
def test_a_missing_right_is_named_with_the_role_that_gives_it(asked: Asked, sentence: str) -> None:
    assert refusal(403, denied(asked.verb, asked.resource), asked).message == sentence


def test_a_policys_no_is_told_in_its_own_words() -> None:
    said = refusal(403, status("admission webhook x denied the request: not on Fridays"), PATCH).message
    assert said == (
        "modeldeployment fraud: the API server forbids to patch it: admission webhook x denied the request: not on "
        "Fridays"
    )


def test_a_missing_object_and_a_missing_crd_are_told_apart() -> None:
    asked = Asked("get", "modeldeployments", "ml", "fraud")
    missing = refusal(404, status('modeldeployments "fraud" not found', "fraud"), asked).message
    assert missing == (
        "there is no modeldeployment fraud in namespace ml: kubectl podium get -n ml lists those that there are; is it "
        "in another namespace (-n)?"
    )
    assert "its CRD is missing" in refusal(404, "404 page not found\n", asked).message
    ledger = Asked("get", "configmaps", "ml", "fraud-x-ledger")
    assert refusal(404, status("x", "x"), ledger).message == "there is no configmap fraud-x-ledger in namespace ml"


@pytest.mark.parametrize(("code", "passing"), [(429, True), (500, True), (503, True), (401, False), (422, False)])
def test_what_may_pass_by_itself_is_told_from_what_does_not(code: int, passing: bool) -> None:
    assert isinstance(refusal(code, status("no"), PATCH), Unreachable) is passing


def test_an_answer_that_is_no_status_is_shown_in_one_line() -> None:
    assert refusal(502, "<html>\n bad\n gateway", PATCH).message.endswith("fails (502): <html> bad gateway")
    assert refusal(500, "", PATCH).message.endswith("fails (500): no reason given")


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run(words)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return code, err.strip()


def kubeconfig(folder: Path, server: str, name: str = "config") -> Path:
    file = folder / name
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u", "namespace": "ml"}}],
        "current-context": "prod",
    }
    file.write_text(json.dumps(content))
    return file


COMMANDS = [["get"], ["get", "-w"], ["status", "fraud"], ["status", "fraud", "--wait"], ["promote", "fraud"]]


@pytest.mark.parametrize("words", [*COMMANDS, ["analyze", "fraud"]])
def test_without_a_kubeconfig_the_file_that_is_missing_is_named(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    sentence = f"kubectl podium: no kubeconfig: there is no {tmp_path}/none; set KUBECONFIG to a kubeconfig file"
    assert said(words, capsys) == (Exit.UNREADABLE, sentence)


@pytest.mark.parametrize("content", ["", "{", "[]", "kind: Config", "a: [", "\x00"])
def test_a_kubeconfig_that_is_none_is_named(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    code, sentence = said(["get"], capsys)
    assert code == Exit.UNREADABLE
    assert sentence.startswith(f"kubectl podium: the kubeconfig {tmp_path}/config cannot be used: ")


def test_an_unknown_context_is_told_with_those_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = kubeconfig(tmp_path, "https://127.0.0.1:1")
    monkeypatch.setenv("KUBECONFIG", str(file))
    sentence = f"kubectl podium: there is no context staging in {file}: it has prod"
    assert said(["get", "--context", "staging"], capsys) == (Exit.UNREADABLE, sentence)


@pytest.mark.parametrize("current", [None, "", "gone"])
def test_a_context_that_is_chosen_needs_no_current_one_beside_it(
    current: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(with_current_context(current, kubeconfig(tmp_path, "https://127.0.0.1:1"))))
    assert Cluster.connect("prod").namespace == "ml"


@pytest.mark.parametrize(
    ("current", "why"),
    [
        (None, "it has no current context"),
        ("", "it has no current context"),
        ("gone", "its current context gone is not in it"),
    ],
)
def test_where_no_context_is_chosen_and_none_is_current_those_that_there_are_are_told(
    current: str | None,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = with_current_context(current, kubeconfig(tmp_path, "https://127.0.0.1:1"))
    monkeypatch.setenv("KUBECONFIG", str(file))
    sentence = f"kubectl podium: the kubeconfig {file} cannot be used: {why}; choose one by --context (it has prod)"
    assert said(["get"], capsys) == (Exit.UNREADABLE, sentence)


def with_current_context(name: str | None, file: Path) -> Path:
    """`file`, changed; None: it says nothing of a current one."""
    content = json.loads(file.read_text())
    del content["current-context"]
    file.write_text(json.dumps(content if name is None else content | {"current-context": name}))
    return file


@pytest.mark.parametrize("words", COMMANDS)
def test_without_a_cluster_its_address_is_named(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        server = f"https://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, server)))
        code, sentence = said(words, capsys)
    assert code == Exit.UNREADABLE
    assert sentence.startswith(f"kubectl podium: no answer from {server}: ")
    assert sentence.endswith("; does the cluster run?")
    assert "retries" not in sentence  # a command must not be written twice


@pytest.mark.parametrize(
    "words",
    [["get", "x", "-A"], ["get", ""], ["status"], ["status", ""], ["status", "x", "--timeout", "5"], ["pormote", "x"]],
)
def test_a_wrong_command_line_is_exit_code_2(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, "https://127.0.0.1:1")))
    assert run(words) == 2
