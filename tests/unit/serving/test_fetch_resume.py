"""Downloads that break go on where they broke, also in the next container, of the same generation or not at all."""

import gzip
import hashlib
import http.server
import json
import os
import re
import signal
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from podium_serving.fetch.source import Entry, Stream
from podium_serving.fetch.staging import Staging
from tests.unit.serving.harness import fetch, start_fetch
from tests.unit.serving.test_fetch_s3 import fetch_s3, listed
from tests.unit.serving.web import Script, reply, web

MIB = 2**20
ALLOWED = {"PODIUM_ALLOW_HTTP": "true", "PODIUM_ALLOW_ADDRESSES": "127.0.0.0/8"}
DATE = "Sun, 22 Nov 2026 20:59:22 GMT"


@dataclass
class Store:
    """A server of one file, which understands Range, If-Range and If-Match, and breaks off after `cut` bytes."""

    body: bytes
    etag: str = '"one"'
    cut: int = 0
    ranges: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    ignores_ranges: bool = False
    content_range: str = "bytes {first}-{last}/{size}"
    on_answer: Callable[[], object] = lambda: None

    def __call__(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "")
        expected = handler.headers.get("If-Match")
        if expected not in (None, self.etag):
            reply(412)(handler)
            return
        stale = handler.headers.get("If-Range") not in (None, self.etag)
        match = None if stale or self.ignores_ranges else re.fullmatch(r"bytes=(\d+)-", asked)
        first = int(match[1]) if match else 0
        if handler.command == "GET":
            self.ranges.append(asked)
        if first >= len(self.body) > 0:
            reply(416, Content_Range=f"bytes */{len(self.body)}")(handler)
            return
        handler.send_response(206 if match else 200)
        if match and self.content_range:
            size = len(self.body)
            told = self.content_range.format(first=first, last=size - 1, size=size)
            handler.send_header("Content-Range", told)
        handler.send_header("Content-Length", str(len(self.body) - first))
        handler.send_header("Last-Modified", DATE)
        for name, value in (({"ETag": self.etag} if self.etag else {}) | self.headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "GET":
            rest = self.body[first:]
            handler.wfile.write(rest[: self.cut] if self.cut else rest)
            handler.wfile.flush()
            self.on_answer()
        handler.close_connection = True


def noted(folder: Path) -> int:
    """Bytes that the fetcher could go on from after a restart."""
    journal = folder / "models" / ".model.journal"
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    return max((json.loads(line).get("size", 0) for line in lines if line.endswith("\n")), default=0)


def placed(folder: Path, name: str = "model.onnx") -> bytes:
    return (folder / "models" / "model" / name).read_bytes()


def test_a_line_that_breaks_every_time_delivers_the_whole_file(tmp_path: Path) -> None:
    body = os.urandom(20 * MIB + 7)
    store = Store(body, cut=3 * MIB)
    with web(store) as server:
        result = fetch(tmp_path, f"{server.url}/model.onnx", **ALLOWED)
    assert result.code == 0, result.output
    assert result.message["digest"] == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert placed(tmp_path) == body
    assert result.message["attempts"] == 7
    assert store.ranges == ["", *(f"bytes={n * 3 * MIB}-" for n in range(1, 7))]


def test_an_object_of_s3_goes_on_as_well(tmp_path: Path) -> None:
    body = os.urandom(20 * MIB)
    store = Store(body, cut=6 * MIB)
    with web(store) as server:
        result = fetch_s3(tmp_path, "s3://models/model.onnx", server.url)
    assert result.code == 0, result.output
    assert placed(tmp_path) == body
    assert len(store.ranges) == 4
    assert all(
        int(each.removeprefix("bytes=").rstrip("-")) >= (n + 1) * 5 * MIB for n, each in enumerate(store.ranges[1:])
    )


def test_a_line_that_brings_nothing_is_given_up_after_the_attempts(tmp_path: Path) -> None:
    store = Store(os.urandom(MIB), cut=1)
    with web(store) as server:
        result = fetch(tmp_path, f"{server.url}/model.onnx", PODIUM_FETCH_ATTEMPTS=2, **ALLOWED)
    assert (result.code, result.message["reason"], result.message["attempts"]) == (75, "Incomplete", 2)


def test_the_next_container_goes_on_where_a_killed_one_was(tmp_path: Path) -> None:
    body = os.urandom(30 * MIB)
    arrived = threading.Event()
    release = threading.Event()

    def hold() -> None:
        arrived.set()
        release.wait(30)

    store = Store(body, cut=20 * MIB, on_answer=hold)
    with web(store) as server:
        process = start_fetch(tmp_path, f"{server.url}/model.onnx", **ALLOWED)
        assert arrived.wait(30)
        while noted(tmp_path) < 16 * MIB:
            assert process.poll() is None
        process.kill()
        process.communicate()
        assert not (tmp_path / "models" / "model").exists()
        release.set()
        store.cut = 0
        result = fetch(tmp_path, f"{server.url}/model.onnx", **ALLOWED)
    assert result.code == 0, result.output
    assert placed(tmp_path) == body
    assert int(store.ranges[-1].removeprefix("bytes=").rstrip("-")) >= 16 * MIB
    assert sorted(each.name for each in (tmp_path / "models").iterdir()) == [".model.fetched", "model"]


def test_a_container_that_is_told_to_stop_keeps_what_it_has(tmp_path: Path) -> None:
    body = os.urandom(10 * MIB)
    release = threading.Event()
    store = Store(body, cut=9 * MIB, on_answer=lambda: release.wait(30))
    with web(store) as server:
        process = start_fetch(tmp_path, f"{server.url}/model.onnx", **ALLOWED)
        while noted(tmp_path) == 0:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        release.set()
        process.communicate()
        assert json.loads((tmp_path / "termination").read_text())["reason"] == "Interrupted"
        store.cut = 0
        assert fetch(tmp_path, f"{server.url}/model.onnx", **ALLOWED).code == 0
    assert placed(tmp_path) == body
    assert store.ranges[-1].startswith("bytes=")


def test_a_file_that_has_changed_meanwhile_is_fetched_from_its_beginning(tmp_path: Path) -> None:
    old, new = os.urandom(10 * MIB), os.urandom(10 * MIB)
    release = threading.Event()
    store = Store(old, cut=9 * MIB, on_answer=lambda: release.wait(30))
    with web(store) as server:
        process = start_fetch(tmp_path, f"{server.url}/model.onnx", **ALLOWED)
        while noted(tmp_path) == 0:
            assert process.poll() is None
        process.kill()
        process.communicate()
        release.set()
        store.body, store.etag, store.cut = new, '"two"', 0
        assert fetch(tmp_path, f"{server.url}/model.onnx", **ALLOWED).code == 0
    assert placed(tmp_path) == new


def test_what_the_disk_has_lost_is_fetched_again(tmp_path: Path) -> None:
    files, journal = tmp_path / "files", tmp_path / "journal"
    body = os.urandom(100)

    def entry(seen: list[int]) -> Entry:
        def open_(offset: int, tag: str) -> Stream:
            seen.append(offset)
            return Stream(offset, "one", iter([body[offset:]]))

        return Entry("a", None, open_)

    def breaking(offset: int, tag: str) -> Stream:
        def chunks() -> object:
            yield body[:50]
            raise ConnectionError

        return Stream(0, "one", chunks())  # type: ignore[arg-type]

    first = Staging(files, journal, "key", "uri")
    first.prepare(["a"])
    with pytest.raises(ConnectionError):
        first.fetch(Entry("a", None, breaking), lambda _: None)
    seen: list[int] = []
    again = Staging(files, journal, "key", "uri")
    assert again.fetch(entry(seen), lambda _: None) == (hashlib.sha256(body).hexdigest(), 100)
    (files / "a").write_bytes(bytes(100))
    third = Staging(files, journal, "key", "uri")
    assert third.fetch(entry(seen), lambda _: None) == (hashlib.sha256(body).hexdigest(), 100)
    assert seen == [50, 0]
    Staging(files, journal, "another key", "uri")
    assert not files.exists()


def test_a_server_that_knows_no_ranges_is_asked_from_the_beginning(tmp_path: Path) -> None:
    body = os.urandom(3 * MIB)
    store = Store(body, cut=2 * MIB, ignores_ranges=True)

    def mend(handler: http.server.BaseHTTPRequestHandler) -> None:
        if len(store.ranges) == 1:
            store.cut = 0
        store(handler)

    with web(mend) as server:
        result = fetch(tmp_path, f"{server.url}/model.onnx", **ALLOWED)
    assert result.code == 0, result.output
    assert placed(tmp_path) == body


@pytest.mark.parametrize(
    ("ignores_ranges", "content_range"),
    [(True, ""), (False, ""), (False, "bytes 0-1/{size}"), (False, "bytes")],
    ids=["200", "206 without a range", "another range", "no range"],
)
def test_a_store_that_knows_no_ranges_is_asked_from_the_beginning(
    tmp_path: Path, ignores_ranges: bool, content_range: str
) -> None:
    body = os.urandom(3 * MIB)
    store = Store(body, cut=2 * MIB, ignores_ranges=ignores_ranges, content_range=content_range)

    def mend(handler: http.server.BaseHTTPRequestHandler) -> None:
        if store.ranges:
            store.cut = 0
        store(handler)

    with web(mend) as server:
        result = fetch_s3(tmp_path, "s3://models/model.onnx", server.url, PODIUM_FETCH_ATTEMPTS=2)
    assert result.code == 0, result.output
    assert placed(tmp_path) == body
    # When it breaks off, the rest is asked for once, and then the whole, within the same attempt.
    assert [bool(each) for each in store.ranges] == [False, True, False]
    assert result.message["attempts"] == 2


def test_a_store_that_refuses_a_range_is_asked_from_the_beginning(tmp_path: Path) -> None:
    body = os.urandom(3 * MIB)
    store = Store(body, cut=2 * MIB)

    def refusing(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.headers.get("Range"):
            store.cut = 0
            reply(416)(handler)
        else:
            store(handler)

    with web(refusing) as server:
        result = fetch_s3(tmp_path, "s3://models/model.onnx", server.url, PODIUM_FETCH_ATTEMPTS=2)
    assert result.code == 0, result.output
    assert placed(tmp_path) == body


# Gzip


def packed(body: bytes, coding: str = "gzip") -> Script:
    return reply(200, body, Content_Encoding=coding, ETag='"x"', Last_Modified=DATE)


@pytest.mark.parametrize("parts", [1, 2])
def test_an_answer_that_is_gzipped_although_nobody_asked_is_decoded(tmp_path: Path, parts: int) -> None:
    body = os.urandom(2 * MIB) + bytes(40 * MIB)
    half = len(body) // parts
    coded = b"".join(gzip.compress(body[n * half : (n + 1) * half], 1) for n in range(parts))
    with web(packed(coded)) as server:
        result = fetch(tmp_path, f"{server.url}/model.onnx", **ALLOWED)
        assert result.code == 0, result.output
        assert result.message["digest"] == f"sha256:{hashlib.sha256(body).hexdigest()}"
        over = fetch(tmp_path / "small", f"{server.url}/model.onnx", PODIUM_MODEL_MAX_BYTES=3 * MIB, **ALLOWED)
        assert over.message["reason"] == "TooLarge"


def test_an_object_that_is_stored_gzipped_is_decoded(tmp_path: Path) -> None:
    with web(packed(gzip.compress(b"a model" * 1000))) as server:
        result = fetch_s3(tmp_path, "s3://models/model.onnx", server.url)
    assert result.code == 0, result.output
    assert placed(tmp_path) == b"a model" * 1000


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate", "gzip, gzip"])
def test_any_other_coding_is_refused_by_its_name(tmp_path: Path, coding: str) -> None:
    with web(packed(zlib.compress(b"a model"), coding)) as server:
        for result in (
            fetch(tmp_path, f"{server.url}/model.onnx", **ALLOWED),
            fetch_s3(tmp_path, "s3://models/model.onnx", server.url),
        ):
            assert (result.code, result.message["reason"]) == (65, "Rejected")
            assert f"Content-Encoding '{coding}', of which only gzip is decoded" in result.message["message"]


@pytest.mark.parametrize(
    "body", [gzip.compress(b"a model" * 1000, mtime=0)[:-9], b"no gzip at all"], ids=["cut off", "no gzip"]
)
def test_gzip_that_is_not_whole_is_no_model(tmp_path: Path, body: bytes) -> None:
    with web(packed(body)) as server:
        result = fetch(tmp_path, f"{server.url}/model.onnx", **ALLOWED)
    assert (result.code, result.message["reason"]) == (75, "Incomplete")
    assert "gzip" in result.message["message"]


# A model that is overwritten while it is read


@dataclass
class Folder:
    """An S3 store of two objects, which are overwritten when the second is asked for the first time."""

    knows_if_match: bool
    overwritten_when: str
    keeps_changing: bool = False
    generation: int = 1

    def __call__(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        body = f"generation {self.generation}".encode()
        if "list-type" in handler.path:
            listing = listed({"fraud/7/a": len(body), "fraud/7/b": len(body)}).replace(b"x", b"%d" % self.generation)
            reply(200, listing)(handler)
        elif handler.path not in ("/models/fraud/7/a", "/models/fraud/7/b"):
            reply(404)(handler)
        else:
            asked = handler.path.rsplit("/", 1)[1] == self.overwritten_when
            before = asked and self.overwritten_when == "b"
            if asked and (self.generation == 1 or self.keeps_changing) and before:
                self.generation += 1
                body = f"generation {self.generation}".encode()
            tag = f'"{self.generation}"'
            if self.knows_if_match and handler.headers.get("If-Match") not in (None, tag):
                reply(412)(handler)
            else:
                reply(200, body, ETag=tag, Last_Modified=DATE)(handler)
            if asked and self.generation == 1 and not before:
                self.generation += 1


@pytest.mark.parametrize("knows_if_match", [True, False])
@pytest.mark.parametrize("overwritten_when", ["a", "b"])
def test_a_prefix_that_is_overwritten_meanwhile_gives_one_generation(
    tmp_path: Path, knows_if_match: bool, overwritten_when: str
) -> None:
    # When "a" has been read; or before "b" is.
    with web(Folder(knows_if_match, overwritten_when)) as server:
        result = fetch_s3(tmp_path, "s3://models/fraud/7", server.url, PODIUM_FETCH_ATTEMPTS=3)
    assert result.code == 0, result.output
    assert placed(tmp_path, "a") == placed(tmp_path, "b") == b"generation 2"


def test_a_prefix_that_is_overwritten_all_the_time_is_a_passing_failure_and_never_half_of_each(tmp_path: Path) -> None:
    with web(Folder(True, "b", keeps_changing=True)) as server:
        result = fetch_s3(tmp_path, "s3://models/fraud/7", server.url, PODIUM_FETCH_ATTEMPTS=2)
    assert (result.code, result.message["reason"], result.message["permanent"]) == (75, "Changed", False)
    assert "was changed while the model was being fetched" in result.message["message"]
    assert not (tmp_path / "models" / "model").exists()


def test_the_last_object_may_be_overwritten_after_it_was_read(tmp_path: Path) -> None:
    """Nothing but a second listing shows that."""
    reads: list[str] = []

    def script(handler: http.server.BaseHTTPRequestHandler) -> None:
        generation = 2 if reads.count("b") else 1
        if "list-type" in handler.path:
            sizes = {"fraud/7/a": 1, "fraud/7/b": 1} | ({"fraud/7/c": 1} if generation == 2 else {})
            reply(200, listed(sizes))(handler)
        elif handler.path == "/models/fraud/7":
            reply(404)(handler)
        else:
            reads.append(handler.path.rsplit("/", 1)[1])
            reply(200, b"1", ETag='"x"', Last_Modified=DATE)(handler)

    with web(script) as server:
        result = fetch_s3(tmp_path, "s3://models/fraud/7", server.url, PODIUM_FETCH_ATTEMPTS=2)
    assert (result.code, result.message["files"]) == (0, 3), result.output
    assert reads.count("a") == 1


def test_a_folder_of_a_claim_that_is_overwritten_meanwhile_gives_one_generation(tmp_path: Path) -> None:
    folder = tmp_path / "pvc" / "7"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / name).write_bytes(b"1" * 30 * MIB)
    process = start_fetch(tmp_path, "pvc://claim/7", PODIUM_FETCH_ATTEMPTS=3)
    while process.poll() is None and not list((tmp_path / "models").glob(".model.fetching/*")):
        pass
    for name in ("a", "b"):
        (folder / "new").write_bytes(b"2" * 30 * MIB)
        (folder / "new").rename(folder / name)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert placed(tmp_path, "a")[:1] == placed(tmp_path, "b")[:1]
