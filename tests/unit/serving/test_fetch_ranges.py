"""What a server answers to who asks for the rest of a file: less than that, or of another generation, or coded."""

import hashlib
import http.server
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.serving.harness import fetch
from tests.unit.serving.web import Script, reply, web

MIB = 2**20
ALLOWED = {"PODIUM_ALLOW_HTTP": "true", "PODIUM_ALLOW_ADDRESSES": "127.0.0.0/8"}
DATE = "Sun, 22 Nov 2026 20:59:22 GMT"
# Sends the file from that byte on.
Rest = Callable[[http.server.BaseHTTPRequestHandler, int], None]


def placed(folder: Path) -> bytes:
    return (folder / "models" / "model" / "model.onnx").read_bytes()


def breaking(body: bytes, cut: int, rest: Rest, asked: list[str], **headers: str) -> Script:
    """Breaks off the first answer after `cut` bytes, and leaves every request for a range to `rest`."""

    def script(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers.get("Range", ""))
        match = re.fullmatch(r"bytes=(\d+)-", asked[-1])
        if match:
            rest(handler, int(match[1]))
        else:
            reply(200, body[:cut] if len(asked) == 1 else body, announced=len(body), **headers)(handler)

    return script


@pytest.mark.parametrize("total", ["{size}", "*"])
def test_a_range_that_is_shorter_than_what_was_asked_for_is_not_the_whole(tmp_path: Path, total: str) -> None:
    body = os.urandom(4 * MIB)

    def one_mib(handler: http.server.BaseHTTPRequestHandler, first: int) -> None:
        told = f"bytes {first}-{first + MIB - 1}/{total.format(size=len(body))}"
        reply(206, body[first : first + MIB], Content_Range=told, ETag='"x"')(handler)

    asked: list[str] = []
    with web(breaking(body, 2 * MIB, one_mib, asked, ETag='"x"')) as server:
        result = fetch(tmp_path, f"{server.url}/model.onnx", **ALLOWED)
    assert result.code == 0, result.output
    assert result.message["digest"] == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert placed(tmp_path) == body
    # Of what is not told how long it is, the end cannot be known: the whole is asked for, within the same attempt.
    rest = [f"bytes={3 * MIB}-"] if total == "{size}" else [""]
    assert asked == ["", f"bytes={2 * MIB}-", *rest]


def test_a_server_that_never_sends_the_last_part_is_told(tmp_path: Path) -> None:
    body = os.urandom(2 * MIB)

    def one_byte(handler: http.server.BaseHTTPRequestHandler, first: int) -> None:
        told = f"bytes {first}-{first}/{len(body)}"
        reply(206, body[first : first + 1], Content_Range=told, ETag='"x"')(handler)

    with web(breaking(body, MIB, one_byte, [], ETag='"x"')) as server:
        result = fetch(tmp_path, f"{server.url}/model.onnx", PODIUM_FETCH_ATTEMPTS=2, **ALLOWED)
    assert (result.code, result.message["reason"]) == (75, "Incomplete")
    assert result.message["message"].endswith(f"the server ended its answer after {MIB + 2} of {2 * MIB} bytes")
    assert not (tmp_path / "models" / "model").exists()


def of_the_rest(new: bytes, **headers: str) -> Rest:
    def rest(handler: http.server.BaseHTTPRequestHandler, first: int) -> None:
        told = f"bytes {first}-{len(new) - 1}/{len(new)}"
        reply(206, new[first:], Content_Range=told, **headers)(handler)

    return rest


def out_of_range(new: bytes, **headers: str) -> Rest:
    return lambda handler, first: reply(416, b"sorry", Content_Range=f"bytes */{first}", **headers)(handler)


@pytest.mark.parametrize("answer", [of_the_rest, out_of_range])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"ETag": '"one"'}, {"ETag": '"two"'}),
        ({"Last_Modified": DATE}, {"Last_Modified": DATE, "ETag": '"one"'}),
        ({"Last_Modified": DATE}, {"Last_Modified": DATE.replace("22", "23")}),
    ],
    ids=["another tag", "a tag beside the date", "another date"],
)
def test_the_rest_of_another_generation_is_not_used_and_the_file_is_begun_anew(
    tmp_path: Path, answer: Callable[..., Rest], before: dict[str, str], after: dict[str, str]
) -> None:
    """For servers that do not know If-Range, or know it and forget it."""
    old, new = os.urandom(3 * MIB), os.urandom(3 * MIB)
    asked: list[str] = []

    def script(handler: http.server.BaseHTTPRequestHandler) -> None:
        body, headers = (new, after) if asked else (old, before)
        breaking(body, 2 * MIB, answer(new, **after), asked, **headers)(handler)

    with web(script) as server:
        result = fetch(tmp_path, f"{server.url}/model.onnx", PODIUM_FETCH_ATTEMPTS=2, **ALLOWED)
    assert result.code == 0, result.output
    assert placed(tmp_path) == new
    assert (asked, result.message["attempts"]) == (["", f"bytes={2 * MIB}-", ""], 2)


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_the_rest_of_a_coded_answer_is_not_used_and_the_file_is_begun_anew(tmp_path: Path, coding: str) -> None:
    body = os.urandom(3 * MIB)
    asked: list[str] = []
    rest = of_the_rest(body, ETag='"x"', Content_Encoding=coding)
    with web(breaking(body, 2 * MIB, rest, asked, ETag='"x"')) as server:
        result = fetch(tmp_path, f"{server.url}/model.onnx", PODIUM_FETCH_ATTEMPTS=2, **ALLOWED)
    assert result.code == 0, result.output
    assert placed(tmp_path) == body
    assert len(asked) == 3


def test_the_coding_of_an_error_page_is_not_the_files(tmp_path: Path) -> None:
    body = os.urandom(2 * MIB)
    # All of it has come, but not the end of the answer, which announced more.
    first = reply(200, body, announced=3 * MIB, ETag='"x"')
    beyond = reply(416, b"sorry", Content_Range=f"bytes */{2 * MIB}", Content_Encoding="br")
    with web(lambda handler: (beyond if handler.headers.get("Range") else first)(handler)) as server:
        result = fetch(tmp_path, f"{server.url}/model.onnx", PODIUM_FETCH_ATTEMPTS=2, **ALLOWED)
    assert result.code == 0, result.output
    assert placed(tmp_path) == body
