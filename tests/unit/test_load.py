"""The load client counts what is lost: a server that misbehaves in one way, and the failure that has to be seen."""

import asyncio
import json
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster.ports import reserve
from tests.load import Client, Counts, Load, Question

Behaviour = Callable[[int, asyncio.StreamWriter], Coroutine[Any, Any, None]]
RIGHT = {"1": "7", "2": "8"}


def reply(digit: int, *, status: str = "200 OK", revision: str = "digits-a") -> bytes:
    body = json.dumps({"digit": digit}).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nx-podium-revision: {revision}\r\n\r\n"
    return head.encode() + body


@contextmanager
def serving(behave: Behaviour) -> Iterator[str]:
    """A server that lets `behave` answer the n-th request; yields its URL."""
    (port,), number = reserve(1), iter(range(10**6))
    began, ended = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                length = 0
                while line.strip():
                    name, _, value = line.lower().partition(b":")
                    length = int(value) if name == b"content-length" else length
                    line = await reader.readline()
                await reader.readexactly(length)
                await behave(next(number), writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", port)
        loops.append(asyncio.get_running_loop())
        began.set()
        await ended.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert began.wait(10)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        loops[0].call_soon_threadsafe(ended.set)
        thread.join()


def seen(behave: Behaviour, *, timeout: float = 2.0) -> Counts:
    """What the client counts against a server that answers 30 requests rightly first."""

    async def after_thirty(number: int, writer: asyncio.StreamWriter) -> None:
        if number < 30:
            writer.write(reply(7))
        else:
            await behave(number, writer)

    question = Question("{}", RIGHT)
    with serving(after_thirty) as url, Load(url, [question], pick=("digit",), rate=100, timeout=timeout) as load:
        load.await_answers(40, seconds=60)
        return load.close()


def every_tenth(bad: Behaviour) -> Behaviour:
    async def behave(number: int, writer: asyncio.StreamWriter) -> None:
        if number % 10:
            writer.write(reply(7))
        else:
            await bad(number, writer)

    return behave


async def right(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(reply(7))


async def reset(number: int, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def half(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(reply(7)[:-3])
    writer.close()


async def unavailable(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(reply(7, status="503 Service Unavailable"))


async def wrong(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(reply(9))


async def another_version(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(reply(8))


async def nameless(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(reply(7, revision=""))


async def never(number: int, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


def test_right_answers_are_no_failures_and_tell_which_version_a_revision_is() -> None:
    counts = seen(right)

    assert counts.failed == 0
    assert counts.versions == {"digits-a": ["1"]}
    assert counts.sent == counts.answered == counts.revisions["digits-a"]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (reset, "reset"),
        (half, "reset"),
        (unavailable, "status 503"),
        (wrong, "wrong"),
        (another_version, "wrong"),
        (nameless, "nameless"),
    ],
)
def test_a_failure_is_counted_by_its_kind(bad: Behaviour, kind: str) -> None:
    counts = seen(every_tenth(bad))

    assert set(counts.failures) == {kind}
    assert counts.sent == counts.answered + counts.failed
    assert sum(counts.failing.values()) == counts.failed


def test_an_answer_that_takes_too_long_is_a_failure() -> None:
    counts = seen(every_tenth(never), timeout=0.5)

    assert set(counts.failures) == {"late"}


def test_a_server_that_is_gone_is_a_failure() -> None:
    with serving(right) as url:
        load = Load(url, [Question("{}", RIGHT)], pick=("digit",), rate=100)
        load.__enter__()
        load.await_answers(20)
    before = load.counts().failed
    while load.counts().failed < before + 10:
        assert load.counts().seconds < 20
    counts = load.close()

    assert "connect" in counts.failures


def test_every_question_is_asked_as_often_and_in_another_order_each_time() -> None:
    questions = [{"body": str(number), "answers": {}} for number in range(64)]
    client = Client({"url": "http://h/", "pick": [], "timeout": 1, "rate": 1, "kept": 0.5, "lanes": 1, "pauses": None,
                     "questions": questions})  # fmt: skip
    first, second = ([client._draw() for _ in questions] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(64))
    assert first != second


def test_with_pauses_all_requests_go_over_as_many_connections_as_there_are_lanes() -> None:
    asked: list[tuple[str, int]] = []

    async def note(number: int, writer: asyncio.StreamWriter) -> None:
        asked.append(writer.get_extra_info("peername"))
        writer.write(reply(7))

    with serving(note) as url:
        load = Load(url, [Question("{}", RIGHT)], pick=("digit",), rate=1000, lanes=5, pauses=(0.02, 0.05))
        with load:
            load.await_answers(50, seconds=60)
        counts = load.close()

    assert not counts.failed, str(counts)
    assert len(set(asked)) == 5
    assert min(asked.count(connection) for connection in asked) > 1


def test_failures_have_the_moments_they_came_in() -> None:
    counts = Counts(failing={41: 3, 57: 1})

    assert counts.failed_for == pytest.approx(1.6)
    assert counts.since(Counts(failing={41: 3})).failed_for == 0
    assert Counts().failed_for == 0


def test_a_failure_is_told_with_how_long_the_client_itself_was_held_up() -> None:
    counts = Counts(failures={"late": 1}, examples=["4.0 s, a new connection: late"], stalled=1.5)

    assert "1 failed (late: 1); the client itself was held up for 1.50 s at most\n" in str(counts)


def test_a_client_that_is_stopped_for_a_while_notices() -> None:
    async def answers(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(7))

    with serving(answers) as url, Load(url, [Question("{}", RIGHT)], pick=("digit",)) as load:
        load.await_answers(40, seconds=60)
        process = load._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                load.await_answers(10**6, seconds=1)
        finally:
            process.send_signal(signal.SIGCONT)
        load.await_answers(40, seconds=60)
        assert load.close().stalled > 0.5
