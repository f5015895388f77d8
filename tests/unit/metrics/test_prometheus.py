"""Every answer that is no count holds, with a sentence that names metric, query, cause and way out; it is never a 0."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from podium.analysis.metrics import Kind
from podium.metrics import instant, prometheus
from podium.metrics.access import Access
from podium.metrics.answers import Unanswered, count_in
from podium.metrics.prometheus import Prometheus
from podium.metrics.queried import Level, Look
from podium.rollout.wish import Wish

AT = 1_700_000_000.125
EVENTS = 'sum(failed_total{namespace="{{namespace}}",pod=~"{{revision}}-.*"})'
TOTAL = EVENTS.replace("failed", "all")
WISH = Wish("checkout", Kind.PROMETHEUS, 1.5, 1.0, 0.0, events=EVENTS, total=TOTAL)


def vector(*values: object, at: object = AT, **more: object) -> bytes:
    result = [{"metric": {}, "value": [at, value]} for value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}, **more}).encode()


def success(kind: str, result: object) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


def error(kind: str, text: str) -> bytes:
    return json.dumps({"status": "error", "errorType": kind, "error": text}).encode()


@pytest.mark.parametrize(
    ("text", "count"), [("0", 0), ("41", 41), ("1.5", 1.5), ("1e+06", 1e6), ("1.2345e+09", 1.2345e9)]
)
def test_one_finite_number_is_a_count(text: str, count: float) -> None:
    assert count_in(200, vector(text), AT) == count


def test_information_beside_it_does_not_matter() -> None:
    assert count_in(200, vector("1", infos=["metric might not be a counter"]), AT) == 1


BAD = {
    "NaN": (200, vector("NaN"), "gives NaN: query counters, and divide by nothing"),
    "+Inf": (200, vector("+Inf"), "gives +Inf: "),
    "-Inf": (200, vector("-Inf"), "gives -Inf: "),
    "a word": (200, vector("abc"), "gives 'abc', which is no number"),
    "no text": (200, vector(None), "gives None, which is no number"),
    "Python's own number": (200, vector("1_000"), "gives '1_000', which is no number"),
    "too large": (200, vector("1e999"), "gives '1e999', which is no number"),
    "below zero": (200, vector("-1"), "gives -1: a count is never below 0"),
    "nothing": (200, vector(), "gives nothing: no pod of this revision has been scraped yet"),
    "two series": (200, vector("1", "2"), "gives 2 series and not one: put sum(...) around it"),
    "a string": (200, success("string", [AT, "x"]), "gives a string, and no counter"),
    "a scalar": (200, success("scalar", [AT, "1"]), "gives a scalar, and no counter"),
    "a range": (200, success("matrix", [{"metric": {}, "values": [[AT, "1"]]}]), "gives a matrix, and no counter"),
    "a histogram": (200, success("vector", [{"metric": {}, "histogram": [AT, {}]}]), "gives no number, such as a hist"),
    "warnings": (200, vector("1", warnings=["store-2 did not answer"]), "answered in part: store-2 did not answer"),
    "another time": (200, vector("1", at=AT - 15), "for another time: let no cache stand before Prometheus"),
    "no time": (200, vector("1", at="then"), "for another time"),
    "a bad query": (400, error("bad_data", "parse error at char 3"), "400 (parse error at char 3): correct the query"),
    "too much work": (422, error("execution", "too many samples"), "422 (too many samples): correct the query"),
    "no token": (401, b"Unauthorized", "refused with 401: put a valid token into prometheus.tokenSecret"),
    "the wrong token": (403, b"", "refused with 403: put a valid token into prometheus.tokenSecret"),
    "another place": (302, b"", "sent elsewhere with 302: set prometheus.url"),
    "no API": (404, b"404 page not found", "answered with 404: see whether Prometheus is well"),
    "starting": (503, error("unavailable", "starting up"), "answered with 503 (starting up): see whether"),
    "a crash": (500, b"<html>", "answered with 500: see whether"),
    "a page": (200, b"<html>log in</html>", "got no answer of Prometheus's API: set prometheus.url"),
    "no object": (200, b"[1]", "got no answer of Prometheus's API"),
    "an empty object": (200, b"{}", "got no answer of Prometheus's API"),
    "half of it": (200, vector("1")[:-5], "got no answer of Prometheus's API"),
    "depths": (200, b"[" * 50_000, "got no answer of Prometheus's API"),
    "half a surrogate pair": (500, b'{"error": "\\ud800"}', "answered with 500: see whether"),
    "no data": (200, b'{"status": "success"}', "gives a None, and no counter"),
    "data of another form": (200, success("vector", 3), "gives a vector, and no counter"),
    "samples of another form": (200, success("vector", [7]), "gives no number"),
}  # fmt: skip


@pytest.mark.parametrize(("status", "body", "said"), BAD.values(), ids=BAD.keys())
def test_anything_else_is_none(status: int, body: bytes, said: str) -> None:
    with pytest.raises(Unanswered) as refused:
        count_in(status, body, AT)
    assert said in str(refused.value)


@dataclass
class Stand:
    """Stands for Prometheus where a real one cannot be made to answer so."""

    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answer: Callable[[str, float], tuple[int, bytes]] = lambda query, at: (200, vector("1", at=at))
    pause: float = 0.0
    """Seconds between two bytes of an answer; 0: it comes at once."""
    silent: threading.Event = field(default_factory=threading.Event)
    """While not set, nothing is answered."""


@contextmanager
def standing() -> Iterator[Stand]:
    stand = Stand()
    stand.silent.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode(), strict_parsing=True)
            stand.asked.append({"path": self.path, **{name: value for name, (value,) in form.items()}})
            stand.headers.append(dict(self.headers))
            stand.silent.wait(20)
            status, body = stand.answer(form["query"][0], float(form["time"][0]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Set-Cookie", "a=b")
            self.end_headers()
            try:
                for part in (body,) if not stand.pause else (body[at : at + 1] for at in range(len(body))):
                    self.wfile.write(part)
                    self.wfile.flush()
                    time.sleep(stand.pause)
            except OSError:
                return  # whoever asked has had enough

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    stand.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stand
    finally:
        stand.silent.set()
        server.shutdown()
        thread.join()
        server.server_close()


async def looked(access: Access, *wishes: Wish) -> Look:
    source = Prometheus(access, clock=lambda: AT + 5)
    try:
        return await source.look(wishes or (WISH,), "ml", "old", "new")
    finally:
        source.close()


async def test_two_queries_of_each_revision_are_posted_for_one_instant_in_the_past() -> None:
    with standing() as stand:
        found = await looked(Access(url=f"{stand.url}/prom/"))
    assert found == Look(AT, {"checkout": Level(1, 1)}, {"checkout": Level(1, 1)})
    assert {each["path"] for each in stand.asked} == {"/prom/api/v1/query"}
    assert {each["time"] for each in stand.asked} == {f"{AT:.3f}"}
    assert sorted(each["query"] for each in stand.asked) == sorted(
        f'sum({name}_total{{namespace="ml",pod=~"{revision}-.*"}})'
        for name in ("all", "failed")
        for revision in ("old", "new")
    )
    assert not any("Authorization" in each or "Cookie" in each for each in stand.headers)


async def test_the_sentence_names_metric_and_query() -> None:
    with standing() as stand:
        stand.answer = lambda query, at: (200, vector("NaN" if "failed" in query and "new" in query else "1", at=at))
        found = await looked(Access(url=stand.url))
    assert found.champion == {"checkout": Level(1, 1)}
    said = found.candidate["checkout"]
    assert isinstance(said, str)
    assert said.startswith('metric checkout: events (sum(failed_total{namespace="ml",pod=~"new-.*"})) gives NaN: ')


async def test_more_events_than_there_could_be_are_no_counts() -> None:
    with standing() as stand:
        stand.answer = lambda query, at: (200, vector("7" if "failed" in query else "5", at=at))
        found = await looked(Access(url=stand.url))
    assert "are 7, more than total, 5: query as events a part of" in str(found.champion["checkout"])


async def test_without_a_url_nothing_is_asked_and_the_way_out_is_the_operators_setting() -> None:
    said = str((await looked(Access())).champion["checkout"])
    assert "the operator knows no Prometheus: set prometheus.url of its chart" in said


async def test_a_query_that_names_neither_namespace_nor_revision_is_asked_only_where_the_settings_allow_it() -> None:
    bare = Wish("checkout", Kind.PROMETHEUS, 1.5, 1.0, 0.0, events="sum(failed_total)", total=TOTAL)
    with standing() as stand:
        said = str((await looked(Access(url=stand.url), bare)).champion["checkout"])
        assert "is not asked, since it lacks {{namespace}} and {{revision}}: " in said
        assert "prometheus.anyQuery" in said
        assert not any(each["query"] == "sum(failed_total)" for each in stand.asked)
        found = await looked(Access(url=stand.url, any_query=True), bare)
        assert found.champion["checkout"] == Level(1, 1)


async def test_a_redirect_is_not_followed() -> None:
    with standing() as stand:
        stand.answer = lambda query, at: (307, b"")
        assert "sent elsewhere with 307" in str((await looked(Access(url=stand.url))).champion["checkout"])


@pytest.mark.parametrize("pause", [0.0, 0.02], ids=["silent", "byte by byte"])
async def test_what_takes_too_long_is_no_answer(pause: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instant, "QUERY_SECONDS", -0.5)  # half a second is waited
    with standing() as stand:
        stand.pause = pause
        if not pause:
            stand.silent.clear()
        found = await looked(Access(url=stand.url))
    assert "was not answered within 0.5 s: look at Prometheus's load" in str(found.candidate["checkout"])


async def test_a_look_ends_although_threads_are_few_and_all_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "LOOK_SECONDS", 0.3)
    with standing() as stand:
        stand.silent.clear()
        many = [Wish(f"m{n}", Kind.PROMETHEUS, 1.5, 1.0, 0.0, events=EVENTS, total=TOTAL) for n in range(20)]
        found = await asyncio.wait_for(looked(Access(url=stand.url), *many), 5)
        assert len(stand.asked) <= prometheus.THREADS
    assert all("was not answered within 0.3 s" in str(why) for why in found.champion.values())


async def test_an_answer_without_end_is_none() -> None:
    with standing() as stand:
        stand.answer = lambda query, at: (200, b" " * (instant.LARGEST + 1))
        found = await looked(Access(url=stand.url))
    assert f"gives more than {instant.LARGEST} bytes" in str(found.champion["checkout"])


async def test_nobody_there_is_an_outage_with_its_way_out() -> None:
    said = str((await looked(Access(url="http://user:secret@127.0.0.1:1"))).champion["checkout"])
    assert "Connection refused): see whether it runs, and whether a NetworkPolicy" in said
    assert "secret" not in said


async def test_a_token_is_read_anew_for_each_look_and_stands_in_no_sentence(tmp_path: Path) -> None:
    token = tmp_path / "token"
    with standing() as stand:
        access = Access(url=stand.url, token_file=str(token))
        assert "the token of prometheus.tokenSecret cannot be read" in str((await looked(access)).champion["checkout"])
        for text, sent in (("one\n", "Bearer one"), ("two", "Bearer two")):
            token.write_text(text)
            await looked(access)
            assert stand.headers[-1]["Authorization"] == sent
        asked = len(stand.asked)
        for text in ("", "two words", "line\nbreak", "sécret"):
            token.write_text(text)
            said = str((await looked(access)).champion["checkout"])
            assert "prometheus.tokenSecret holds no token" in said
            assert not text or text not in said
        assert len(stand.asked) == asked


async def test_neither_proxies_nor_credentials_of_the_environment_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with standing() as stand:
        assert (await looked(Access(url=stand.url))).champion["checkout"] == Level(1, 1)
    assert not any("Authorization" in each for each in stand.headers)


def test_an_operator_that_asks_no_Prometheus_does_not_load_what_asks_it() -> None:
    code = "import sys, podium.app; sys.exit('requests' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
