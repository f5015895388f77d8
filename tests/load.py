"""A client that puts steady load on a model and counts every request that failed or was answered wrongly.

It runs as a process of its own, so that neither a busy test disturbs its clock nor it the test:

    with Load("http://10.0.0.7/v2/models/digits/infer", questions, pick=("outputs", 0, "data", 0)) as load:
        load.await_answers()
        before = load.counts()
        ...
        assert not load.counts().since(before).failed

Half of the requests go over connections that are kept alive, half over a new connection each. Nothing is tried again.
A failure is a connection that cannot be made, one that ends within a request, an answer that takes over 10 s, a status
other than 200, and a wrong answer. Which revision gave an answer is read from its header x-podium-revision.

A URL that begins with grpc:// is asked over gRPC, by tests/load_grpc.py.

An answer is right for a revision if some version of the model gives it that all earlier answers of that revision fit,
too: the client is told what each version answers, not which revision serves which version; it finds that out.
"""

import asyncio
import json
import math
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import urlsplit

import httptools

TIMEOUT = 10.0
"""Seconds after which an answer is too late: what a loaded machine takes at most, and a lost request never takes."""
LANES = 8
"""Connections that are kept alive."""
NICE = -10
"""With six busy processes beside it the client waited for its turn at half of its requests, at 0 (p50 8 ms, here 3)."""
REPORT_EVERY = 0.25
KEPT_FAILURES = 20
STEP = 1.05
"""Ratio of the histogram's neighbouring bounds: a percentile is right to 5 %."""
FLOOR = 1e-4
K = TypeVar("K", str, int)


@dataclass(frozen=True)
class Question:
    """A request's body, and what each version of the model answers to it. Without versions any answer is right."""

    body: str
    answers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Counts:
    """What has happened so far, or between two moments (`since`)."""

    seconds: float = 0.0
    sent: int = 0
    revisions: Mapping[str, int] = field(default_factory=dict)
    """Right answers by the revision that gave them."""
    versions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The versions that all answers of a revision fit."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Failures by kind: connect, reset, late, status 503, wrong ..."""
    examples: Sequence[str] = ()
    """The first failures, each with the second it came at."""
    histogram: Mapping[int, int] = field(default_factory=dict)
    failing: Mapping[int, int] = field(default_factory=dict)
    """Failures by the tenth of a second that they came in, from the beginning."""
    began: float = 0.0
    """When that was, in seconds since 1970."""
    stalled: float = 0.0
    """The longest time, in seconds, that the client itself did not get to work, up to then: answers looked as late."""

    @property
    def failed_for(self) -> float:
        """Seconds from the first failure to the last, to a tenth; 0 without any."""
        return (max(self.failing) - min(self.failing)) / 10 if self.failing else 0.0

    @property
    def last_failure(self) -> float:
        """When the last failure came, in seconds since 1970, to a tenth; NaN without any."""
        return self.began + max(self.failing) / 10 if self.failing else math.nan

    @property
    def answered(self) -> int:
        """Requests that were answered rightly and in time."""
        return sum(self.revisions.values())

    @property
    def failed(self) -> int:
        """Requests that were not."""
        return sum(self.failures.values())

    @property
    def rate(self) -> float:
        """Right answers per second."""
        return self.answered / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """The latency, in seconds, that `share` (0 to 1) of the right answers did not exceed; NaN without any."""
        left = share * sum(self.histogram.values())
        for bucket, count in sorted(self.histogram.items()):
            left -= count
            if left <= 0:
                return FLOOR * STEP**bucket
        return math.nan

    def since(self, earlier: "Counts") -> "Counts":
        """What happened after `earlier`."""
        return Counts(
            self.seconds - earlier.seconds,
            self.sent - earlier.sent,
            _minus(self.revisions, earlier.revisions),
            self.versions,
            _minus(self.failures, earlier.failures),
            tuple(self.examples[len(earlier.examples) :]),
            _minus(self.histogram, earlier.histogram),
            _minus(self.failing, earlier.failing),
            self.began,
            self.stalled,
        )

    def __str__(self) -> str:
        who = ", ".join(f"{name}: {count}" for name, count in sorted(self.revisions.items()))
        text = f"{self.answered} right answers in {self.seconds:.0f} s ({who}), {self.failed} failed"
        if self.failed:
            text += f" ({', '.join(f'{kind}: {n}' for kind, n in sorted(self.failures.items()))})"
            text += f"; the client itself was held up for {self.stalled:.2f} s at most"
            text += "".join(f"\n    {example}" for example in self.examples)
        return text


def _minus(later: Mapping[K, int], earlier: Mapping[K, int]) -> dict[K, int]:
    return {key: count - earlier.get(key, 0) for key, count in later.items() if count != earlier.get(key, 0)}


class Load:
    """The client, seen from the test. A context manager; `close` ends it."""

    def __init__(
        self,
        url: str,
        questions: Sequence[Question],
        *,
        pick: Sequence[str | int] = (),
        rate: float = 200,
        kept: float = 0.5,
        lanes: int = LANES,
        pauses: tuple[float, float] | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """`pick` is the way to the answer in the JSON of a response; `rate` counts requests per second.

        `kept` is the share of requests over connections that are kept alive, of which there are `lanes`. With `pauses`
        there are those alone, and each asks again after between so many seconds, whatever the rate.
        """
        self._task = {
            "url": url,
            "rate": rate,
            "pick": list(pick),
            "timeout": timeout,
            "kept": kept,
            "lanes": lanes,
            "pauses": pauses,
            "questions": [{"body": q.body, "answers": dict(q.answers)} for q in questions],
        }
        self._counts = Counts()
        self._ended = False
        self._news = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        root = Path(__file__).resolve().parents[1]
        grpc = str(self._task["url"]).startswith("grpc:")
        command = [sys.executable, "-m", "tests.load_grpc" if grpc else "tests.load"]
        self._process = subprocess.Popen(
            command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(self._task) + "\n")
        self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def counts(self) -> Counts:
        """What has happened up to now (at most a quarter of a second ago)."""
        if self._process is not None and self._process.poll():
            raise RuntimeError(f"the load client ended with code {self._process.returncode}")
        with self._news:
            return self._counts

    def await_answers(self, count: int = 50, seconds: float = 120) -> Counts:
        """Waits for `count` further right answers: the load flows. Raises TimeoutError with what came instead."""
        goal = self.counts().answered + count
        with self._news:
            done = self._news.wait_for(lambda: self._ended or self._counts.answered >= goal, seconds)
            if not done or self._counts.answered < goal:
                raise TimeoutError(f"not {count} right answers within {seconds:g} s: {self._counts}")
            return self._counts

    def close(self) -> Counts:
        """Sends nothing more, waits for the answers under way and returns the last counts."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(10 + 3 * float(str(self._task["timeout"])))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if self._reader is not None:
                self._reader.join()
            process.stdout.close()
        return self._counts

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            raw = json.loads(line)
            for name in ("histogram", "failing"):
                raw[name] = {int(place): count for place, count in raw[name].items()}
            with self._news:
                self._counts = Counts(**raw)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


class Failure(Exception):
    """Why a request failed: its kind is the key in Counts.failures."""

    def __init__(self, kind: str, detail: str = "", revision: str = "") -> None:
        self.kind, self.detail, self.revision = kind, detail, revision


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Connection(Protocol):
    """One connection, or one to be; at most one request at a time."""

    open: bool
    local: str
    """The client's port, where it is known."""

    def close(self) -> None:
        """Ends it."""


class _Connection(asyncio.Protocol):
    """One of HTTP/1.1."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.open = False
        self.local = ""
        self._asked = 0.0
        self._received = b""
        """Of an answer, until it is complete."""
        self._waiting: asyncio.Future[Answer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer(0, {}, b"")

    async def ask(self, request: bytes) -> Answer:
        """Sends a request and waits for its answer."""
        assert self.transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer(0, {}, b"")
        self._asked, self._received = time.monotonic(), b""
        self.transport.write(request)
        return await self._waiting

    def close(self) -> None:
        """Ends the connection."""
        self.open = False
        if self.transport is not None:
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.open = transport, True
        self.local = str(transport.get_extra_info("sockname", ("", "?"))[1])

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(Failure("garbage", str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        after = f"{time.monotonic() - self._asked:.1f} s after the request and {len(self._received)} bytes"
        some = f", {self._received[:120]!r}" if self._received else ""
        self._end(Failure("reset", f"{exc or 'closed'} from port {self.local}, {after}{some}"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._answer.body += body

    def on_message_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self.open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._answer)

    def _end(self, failure: Failure) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(failure)


class Client:
    """The client, within its process."""

    new: Callable[[], Any] = _Connection
    """Makes a Connection that is not open yet; `exchange` opens it."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        where = urlsplit(task["url"])
        self.host, self.port = where.hostname or "", where.port or 80
        self.pick, self.timeout = task["pick"], float(task["timeout"])
        self.kept_rate, self.new_rate = task["rate"] * task["kept"], task["rate"] * (1 - task["kept"])
        self.lanes, self.pauses = int(task["lanes"]), task["pauses"]
        if self.pauses:
            self.new_rate = 0
        self.questions = [(q["body"].encode(), q["answers"]) for q in task["questions"]]
        lines = {
            "Host": where.netloc,
            "Content-Type": "application/json",
            "User-Agent": "podium-load",
        }
        method = "POST" if any(body for body, _ in self.questions) else "GET"
        head = f"{method} {where.path or '/'} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        self._heads = {True: head.encode(), False: f"{head}Connection: close\r\n".encode()}
        self.started, self.began = time.monotonic(), time.time()
        self.stalled = 0.0
        self.sent = 0
        self.revisions: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.histogram: Counter[int] = Counter()
        self.failing: Counter[int] = Counter()
        self.fitting: dict[str, set[str]] = {}
        self.examples: list[str] = []
        self._order: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Asks until standard input ends."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def wait_for_the_end() -> None:
            sys.stdin.read()
            loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=wait_for_the_end, daemon=True).start()
        workers = [asyncio.create_task(self._lane(n, ended)) for n in range(self.lanes)]
        workers += [asyncio.create_task(self._newcomers(ended)), asyncio.create_task(self._reports(ended))]
        await ended.wait()
        await asyncio.gather(*workers, *self._tasks)
        self.report()

    async def _reports(self, ended: asyncio.Event) -> None:
        last = time.monotonic()
        while not ended.is_set():
            self.report()
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), REPORT_EVERY)
            # From one report to the next without a gap: who reads a report and stops this process stops it right there.
            last, before = time.monotonic(), last
            self.stalled = max(self.stalled, last - before - REPORT_EVERY)

    def report(self) -> None:
        """Prints the counts as a line of JSON."""
        line = {
            "seconds": time.monotonic() - self.started,
            "sent": self.sent,
            "revisions": self.revisions,
            "versions": {revision: sorted(versions) for revision, versions in self.fitting.items()},
            "failures": self.failures,
            "examples": self.examples,
            "histogram": self.histogram,
            "failing": self.failing,
            "began": self.began,
            "stalled": self.stalled,
        }
        print(json.dumps(line), flush=True)

    async def _lane(self, number: int, ended: asyncio.Event) -> None:
        connection: Connection = self.new()
        share = number / self.lanes
        beats = self._rests(share, ended) if self.pauses else self._beats(self.kept_rate / self.lanes, share, ended)
        async for _ in beats:
            connection = await self._request(connection)
        connection.close()

    async def _rests(self, phase: float, ended: asyncio.Event) -> AsyncIterator[None]:
        """Yields after pauses of random length, the first of which are spread over the longest."""
        low, high = self.pauses
        pause = phase * high
        while not ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), pause)
                return
            yield
            pause = random.uniform(low, high)

    async def _newcomers(self, ended: asyncio.Event) -> None:
        async for _ in self._beats(self.new_rate, 0, ended):
            task = asyncio.create_task(self._newcomer())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _newcomer(self) -> None:
        (await self._request(None)).close()

    async def _beats(self, rate: float, phase: float, ended: asyncio.Event) -> AsyncIterator[None]:
        """Yields at a steady rate; beats missed by more than a second are left out rather than made up for."""
        if not rate:
            return
        at = time.monotonic() + phase / rate
        while not ended.is_set():
            late = time.monotonic() - at
            if late < 0:
                await asyncio.sleep(-late)
            elif late > 1:
                at += late
            if ended.is_set():
                return
            yield
            at += 1 / rate

    async def _request(self, kept: Connection | None) -> Connection:
        """One request, over `kept` if it is open, else over a new connection; returns the connection."""
        body, answers = self.questions[self._draw()]
        self.sent += 1
        connection: Connection = kept if kept is not None and kept.open else self.new()
        start = time.monotonic()
        try:
            async with asyncio.timeout(self.timeout):
                answer = await self.exchange(connection, body, keep=kept is not None)
            took = time.monotonic() - start
            self.revisions[self.judge(answer, answers)] += 1
            self.histogram[max(0, math.ceil(math.log(max(took, FLOOR) / FLOOR, STEP)))] += 1
        except TimeoutError:
            self._failed(Failure("late", f"no answer within {self.timeout:g} s, from port {connection.local}"), kept)
            connection.close()
        except Failure as failure:
            self._failed(failure, kept)
            connection.close()
        if not connection.open:
            connection.close()
        return connection

    def _draw(self) -> int:
        """The next question: each once, in another order every time.

        In the same order always, callers of one kind, who take turns with the others, could ask the same few for ever.
        """
        if not self._order:
            self._order = random.sample(range(len(self.questions)), len(self.questions))
        return self._order.pop()

    async def exchange(self, connection: Any, body: bytes, *, keep: bool) -> Answer:
        """Asks once, over a connection of `new` that may have to be opened first; raises Failure."""
        if not connection.open:
            await self._connect(connection)
        head = self._heads[keep] + b"Content-Length: %d\r\n\r\n" % len(body)
        answer: Answer = await connection.ask(head + body)
        return answer

    async def _connect(self, connection: _Connection) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: connection, self.host, self.port)
        except TimeoutError:
            raise
        except OSError as error:
            raise Failure("connect", str(error)) from error

    def judge(self, answer: Answer, answers: Mapping[str, str]) -> str:
        """The revision that gave an answer; raises Failure unless it is right."""
        revision = answer.headers.get(b"x-podium-revision", b"").decode()
        if answer.status != 200:
            raise Failure(f"status {answer.status}", answer.body[:200].decode(errors="replace"), revision)
        if not answers:
            return revision
        try:
            found: Any = json.loads(answer.body)
            for key in self.pick:
                found = found[key]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise Failure("wrong", f"{error!r} in {answer.body[:200]!r}", revision) from error
        fits = {version for version, right in answers.items() if right == str(found)}
        fits &= self.fitting.get(revision, fits)
        if not fits:
            raise Failure("wrong", f"{found} where {dict(answers)} is right", revision)
        if not revision:
            raise Failure("nameless", "the answer has no header x-podium-revision")
        self.fitting[revision] = fits
        return revision

    def _failed(self, failure: Failure, kept: Connection | None) -> None:
        at = time.monotonic() - self.started
        self.failures[failure.kind] += 1
        self.failing[int(10 * at)] += 1
        if len(self.examples) < KEPT_FAILURES:
            how = "a new connection" if kept is None else "a kept connection"
            who = f" ({failure.revision})" if failure.revision else ""
            now = time.strftime("%H:%M:%S", time.gmtime())
            self.examples.append(f"{at:.1f} s, {now}Z, {how}{who}: {failure.kind}: {failure.detail}")


def main(client: type[Client] = Client) -> None:
    """Reads the task from the first line of standard input and works until that ends.

    Before others where that is allowed: on a busy machine it would else measure how long it waited for its own turn.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    asyncio.run(client(json.loads(sys.stdin.readline())).run())


if __name__ == "__main__":
    main()
