"""How the front ends a connection: nobody loses an answer that there is."""

import asyncio
import contextlib

import pytest

from tests.unit.torchserve.standing import (
    CHUNKED,
    LARGE,
    answer_of,
    echo,
    front_module,
    head_of,
    post,
    standing,
)
from tests.until import until


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n" + LARGE, 400),
        (CHUNKED + b"nonsense\r\n" + LARGE, 400),
        (post(LARGE), 413),
        (post(LARGE, b"Connection: close"), 413),
        (post(LARGE), 503),
        (b"GET /podium/ready HTTP/1.1\r\n\r\n" + LARGE, 200),
    ],
)
async def test_a_caller_that_is_still_sending_gets_its_answer_and_the_server_hears_no_more(
    request_: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_module, "LINGER", 60.0, raising=False)  # or its end would hide what lasts until then
    asked, gone = asyncio.Event(), asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """By the head, and reads on, as TorchServe does where the body is too large."""
        try:
            await head_of(reader)
            asked.set()
            if status == 413:
                writer.write(b"HTTP/1.1 413 Request Entity Too Large\r\ncontent-length: 2\r\n\r\n{}")
            while await reader.read(65536):
                pass
        finally:
            gone.set()

    async with standing(refuse) as stand:
        if status == 503:
            stand.front.server = ("127.0.0.1", 1)
        reader, writer = await stand.connect()
        writer.write(request_)
        await writer.drain()

        answer = await answer_of(reader)
        assert (answer[0], answer[1]["connection"]) == (status, "close")
        assert await reader.read() == b""
        if status == 413:
            await gone.wait()
        assert stand.front.in_flight == 0
    assert asked.is_set() == (status == 413)


async def test_an_answer_that_ends_its_connection_is_not_lost_to_a_request_that_was_sent_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(front_module, "LINGER", 60.0)
    async with standing(echo) as stand:
        stand.front.draining = True
        reader, writer = await stand.connect()
        writer.write(post(b"one") + post(LARGE))
        await writer.drain()

        _, headers, body = await answer_of(reader)
        assert (headers["connection"], body) == ("close", b"one")
        assert await reader.read() == b""


async def test_a_caller_that_does_not_close_behind_its_last_answer_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_module, "LINGER", 0.05)
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        writer.write(b"nonsense\r\n\r\n")
        assert (await answer_of(reader))[0] == 400
        await until(lambda: not stand.front.clients, 20)


async def test_an_answer_that_has_begun_is_cut_off_where_its_request_turns_out_to_be_none() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        await reader.read()

    async with standing(early) as stand:
        reader, writer = await stand.connect()
        writer.write(CHUNKED)
        assert (await head_of(reader))[0] == 200
        writer.write(b"nonsense\r\n")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        await until(lambda: not stand.front.in_flight, 20)


async def test_a_server_that_hangs_up_is_a_502() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)

    async with standing(hang_up) as stand:
        reader, writer = await stand.connect()
        writer.write(post(b""))
        assert (await answer_of(reader))[0] == 502
        assert stand.front.in_flight == 0


@pytest.mark.parametrize(
    ("head", "connections"),
    [
        (b"HTTP/1.1 404 Not Found\r\nConnection: close", 3),
        (b"HTTP/1.1 404 Not Found\r\nX: y\r\nconnection: Close", 3),
        (b"HTTP/1.0 404 Not Found", 3),
        (b"HTTP/1.0 404 Not Found\r\nConnection: keep-alive", 1),
        (b"HTTP/1.1 404 Not Found\r\nConnection: keep-alive", 1),
    ],
)
async def test_a_request_behind_an_answer_that_ends_the_servers_connection_gets_a_new_one(
    head: bytes, connections: int
) -> None:
    """TorchServe closes behind each refusal, a moment after it has said so."""
    made, ended = 0, 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal made, ended
        made += 1
        while True:
            await head_of(reader)
            writer.write(head + b"\r\nContent-Length: 2\r\n\r\n{}")
            if connections == 3:
                await reader.read(1)  # of a request that comes all the same, until the front has ended it
                ended += 1
                return

    async with standing(refuse) as stand:
        reader, writer = await stand.connect()
        writer.write(post(b"") * 2)
        for _ in range(2):
            status, headers, _ = await answer_of(reader)
            assert (status, headers["connection"]) == (404, "keep-alive")
        writer.write(post(b"", b"Connection: close"))
        status, headers, _ = await answer_of(reader)
        assert (status, headers["connection"]) == (404, "close")
        await until(lambda: ended == (connections if connections == 3 else 0), 20)
        assert made == connections
        assert stand.front.counts.codes[404] == 3


@pytest.mark.parametrize(
    ("requests", "answers"),
    [
        ([post(b"one")], [(b"one", "close")]),
        ([post(b"one"), post(b"two")], [(b"one", "keep-alive"), (b"two", "close")]),
        ([post(b"one"), post(b"two")[:-1]], [(b"one", "keep-alive")]),
        ([post(b"one"), b"POST / HT"], [(b"one", "keep-alive")]),
    ],
)
async def test_a_caller_that_is_done_with_sending_gets_its_answers(
    requests: list[bytes], answers: list[tuple[bytes, str]]
) -> None:
    go_on = asyncio.Event()

    async def later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await echo(reader, writer)

    async with standing(later) as stand:
        reader, writer = await stand.connect()
        await until(lambda: bool(stand.front.clients), 20)
        client = next(iter(stand.front.clients))
        writer.write(b"".join(requests))
        writer.write_eof()
        await until(lambda: client.eof, 20)
        go_on.set()
        for body, wish in answers:
            _, headers, answer = await answer_of(reader)
            assert (answer, headers["connection"]) == (body, wish)
        assert await reader.read() == b""
        await until(lambda: not stand.front.clients, 20)
        assert stand.front.in_flight == 0


async def test_a_caller_that_is_done_with_sending_learns_whether_the_model_is_ready() -> None:
    go_on = asyncio.Event()

    async def state() -> str:
        await go_on.wait()
        return ""

    async with standing(echo) as stand:
        stand.front.state = state
        reader, writer = await stand.connect()
        await until(lambda: bool(stand.front.clients), 20)
        client = next(iter(stand.front.clients))
        writer.write(b"GET /podium/ready HTTP/1.1\r\n\r\n")
        writer.write_eof()
        await until(lambda: client.eof, 20)
        go_on.set()
        assert (await answer_of(reader))[0] == 200
        assert await reader.read() == b""


@pytest.mark.parametrize(("version", "interim"), [(b"HTTP/1.1", [100, 100]), (b"HTTP/1.0", [])])
async def test_of_whom_is_done_with_sending_the_front_finds_out_whether_it_has_gone(
    version: bytes, interim: list[int]
) -> None:
    go_on = asyncio.Event()

    async def later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await reader.read()

    async with standing(later) as stand:
        reader, writer = await stand.connect()
        await until(lambda: bool(stand.front.clients), 20)
        client = next(iter(stand.front.clients))
        writer.write(b"GET / " + version + b"\r\n\r\n")
        writer.write_eof()
        await until(lambda: client.eof, 20)
        for _ in range(5):
            client.check(client.heard)
        go_on.set()
        assert [(await head_of(reader))[0] for _ in interim] == interim
        assert (await answer_of(reader))[::2] == (200, b"ok")
        assert await reader.read() == b""
