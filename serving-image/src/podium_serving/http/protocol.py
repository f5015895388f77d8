"""One connection: bytes in, requests in order to the handler, responses in the same order out.

The handler answers at once with a Response or later through a Future. While it works, later requests of the connection
wait (pipelining), and when too many wait, or the peer does not read its answers, reading stops. So it does while the
memory that all connections may hold together is used up. Where more comes at once than can be parsed and answered in
5 ms, the rest waits for the event loop's next turn, so that other connections have theirs.
"""

import asyncio
import contextlib
import socket
from collections import deque
from typing import cast

from podium_serving.budget import NO_ROOM
from podium_serving.http.context import Context
from podium_serving.http.head import MaxBody
from podium_serving.http.message import REASONS, Request, Response, error
from podium_serving.http.reader import Reader

_MAX_PIPELINED = 32
_MAX_PIPELINED_BYTES = 256 * 1024
# How long a peer that is told to close may go on sending before the connection is cut: closing at once would reset the
# connection, and the peer would lose the answer that says why.
_LINGER_SECONDS = 2.0
_LARGEST_COPY = 64 * 1024
# Bytes of one client that are read before others have their turn: the loop alone would take 8 MiB from a fast one.
_MOST_AT_ONCE = 2**20
# A read of so many bytes may have got all of the 256,000 that uvloop asks for. Only then does uvloop read once more
# before others have their turn.
_FULL_READ = 250_000
# How long one client's requests are parsed and answered before others have their turn.
_TURN_SECONDS = 0.005
# Bytes that are parsed between two looks at the clock, and more only of one body: at most 2,500 requests, some 12 ms.
# Fewer would make two pieces of bodies that are read as one now, for 15 us each.
_SLICE = 64 * 1024
# Bytes that Python needs for a request beside what has come of it.
_BESIDE = 1024
_PROBE_SECONDS = 0.1
_TCP_CLOSE = 7
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """The asyncio protocol of one client connection."""

    def __init__(self, context: Context) -> None:
        self._context = context
        limit = MaxBody.of(context.max_body, context.budget.size)
        self._reader = Reader(limit, context.clock, self._received, self._expected)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._queue: deque[Request] = deque()
        self._queued = 0  # bytes of the requests in it
        self._pending: asyncio.Future[Response] | None = None  # the answer that the handler owes
        self._running: Request | None = None  # whose answer that is
        self._eof = False
        self._write_paused = False
        self._read_paused = False
        self._read_at_once = 0  # bytes in this turn of the loop, if it may go on reading
        self._rest = b""  # bytes that were read, and are to be parsed in the next turn
        self._resting = False  # others have their turn
        self._unsent = 0  # bytes that the peer had still to read when it was last looked at
        self._promised = 0  # bytes of the budget for the body that is being received
        self._wanted = 0  # further ones for it that are waited for
        self._starving_since = 0.0
        self._held = 0  # bytes of the budget for what is there: requests that wait or run, unsent answers
        self._last_activity = self._turn_began = context.clock()
        self._read_since = self._last_activity  # since when the client has been read, and told to go on
        self._end_of_life = context.end_of_life(self._last_activity)

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._context.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: what waited for an answer is dropped, and what is being computed is given up."""
        self._context.connections.discard(self)
        self._clear()
        self._reader.drop()
        self._release_promise()
        held, self._held = self._held, 0
        if self._pending is None:
            self._context.budget.change(-held)
            return
        self._pending.cancel()
        # Behind what that calls: who works on the request still takes over what is counted for its body.
        asyncio.get_running_loop().call_soon(self._context.budget.change, -held)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client; complete requests are handled before this returns, if the handler is quick."""
        reader = self._reader
        if reader.deaf:
            return
        self._last_activity = self._context.clock()
        if not self._read_at_once:
            self._turn_began = self._last_activity
        if len(data) > _SLICE:
            self._take(data)
        else:
            reader.feed(data)
            if reader.request is not None:
                self._ask_for_room()
        if len(data) < _FULL_READ:
            self._read_at_once = 0

    def eof_received(self) -> bool:
        """The client sends nothing more; it still gets the answers to what it has sent."""
        self._eof = True
        if self._pending is not None:
            asyncio.get_running_loop().call_later(_PROBE_SECONDS, self._probe)
        return self._pending is not None or bool(self._queue)

    def pause_writing(self) -> None:
        """The client does not read its answers."""
        self._write_paused = True
        self._throttle()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._write_paused = False
        self._turn_began = self._context.clock()
        self._account()
        self._work()

    # for the context and the server

    @property
    def active(self) -> bool:
        """A request is being received, handled or waits; or an answer is not yet sent."""
        return (
            self._pending is not None
            or bool(self._queue)
            or bool(self._rest)
            or self._reader.request is not None
            or self._transport.get_write_buffer_size() > 0
        )

    def close(self) -> None:
        """Ends the connection once what has been written is sent."""
        self._reader.deaf = True
        self._transport.close()

    def abort(self) -> None:
        """Ends the connection at once."""
        self._reader.deaf = True
        self._transport.abort()

    def room_given(self) -> None:
        """The body that is being received has the memory that it waited for."""
        self._promised, self._wanted = self._promised + self._wanted, 0
        self._last_activity = self._read_since = self._context.clock()
        self._go_on()
        self._throttle()

    def check_timeouts(self, now: float) -> None:
        """Ends an idle connection quietly, a stalled request with a 408, and a peer that does not read its answers."""
        before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
        if self._held:
            self._account()
        if self._unsent < before:
            # Who reads slowly is alive.
            self._last_activity = now
        elif before and self._unsent and now - self._last_activity > self._context.read_timeout:
            # However little it is: closing would wait for the peer to read it. What was written just now is no sign.
            self.abort()
        if self._eof and self._pending is not None:
            self._probe()
        if self._pending is not None or self._queue or self._reader.deaf:
            return
        if self._reader.request is not None:
            self._check_request(self._reader.request, now)
        elif now - self._last_activity > self._context.keep_alive:
            self.close()

    def _check_request(self, request: Request, now: float) -> None:
        """Refuses a request that takes too long to arrive."""
        context, reader = self._context, self._reader
        progress = self._last_activity if reader.head_complete else request.started
        if self._wanted:
            if now - self._starving_since > context.room_timeout:
                context.no_room()
                reader.refuse(error(503, NO_ROOM, b"retry-after: 1\r\n"))
        elif now - progress > context.read_timeout:
            limit = context.read_timeout
            reader.refuse(error(408, f"the request was not complete after {limit:g} s without progress"))
        elif now - request.started > context.body_timeout:
            limit = context.body_timeout
            reader.refuse(error(408, f"the request was not complete after {limit:g} s (PODIUM_BODY_SECONDS)"))
        elif context.budget.awaited and self._promised and self._holds_room_in_vain(now - request.started, now):
            limit = context.body_timeout
            why = f"others wait for its memory, and at this pace it takes over {limit:g} s (PODIUM_BODY_SECONDS)"
            reader.refuse(error(408, f"the request comes too slowly: {why}"))

    def _holds_room_in_vain(self, age: float, now: float) -> bool:
        """Whether a body comes so slowly that others should have its room; time in which it was not read is not its."""
        seconds, context = min(age, now - self._read_since), self._context
        return seconds > context.room_timeout and self._reader.hopeless(seconds, context.body_timeout)

    # requests and answers

    def _expected(self) -> None:
        self._ask_for_room()
        self._go_on()

    def _received(self, request: Request) -> None:
        """The reader has a request."""
        self._queue.append(request)
        self._queued += _size(request)
        if self._promised or self._wanted:
            # First the account of what is there: others that wait must not get the same room.
            self._account()
            self._release_promise()
        self._work()

    def _work(self) -> None:
        """Handles waiting requests until the handler needs time, the peer must read first, or none is left."""
        while self._queue and self._pending is None and not self._write_paused and not self._resting:
            # By the time of the last answer, which is known: no request pays for a clock call more.
            if self._last_activity - self._turn_began > _TURN_SECONDS:
                self._let_others()
                break
            request = self._queue.popleft()
            self._queued -= _size(request)
            result = self._context.handler(request)
            if isinstance(result, Response):
                self._send(request, result)
            else:
                self._pending, self._running = result, request
                request.account = self._account
                result.add_done_callback(lambda done, request=request: self._finished(request, done))  # type: ignore[misc]
        if self._reader.expects_continue:
            self._go_on()
        if self._queue or self._held or self._running is not None:
            self._account()
        self._throttle()

    def _finished(self, request: Request, done: "asyncio.Future[Response]") -> None:
        self._pending = self._running = None
        if done.cancelled() or self._transport.is_closing():
            return
        self._send(request, done.result())
        self._turn_began = self._last_activity
        self._work()

    def _take(self, data: bytes) -> None:
        """Parses more than a slice; what is left once the turn has lasted too long waits for the next one."""
        reader, at = self._reader, 0
        while at < len(data):
            if at and (self._resting or self._context.clock() - self._turn_began > _TURN_SECONDS):
                self._rest = data[at:]
                self._account()
                break
            some = data[at : at + max(_SLICE, reader.body_missing)]
            at += len(some)
            self._read_at_once += len(some)
            reader.feed(some)
            if reader.deaf:
                return
        if reader.request is not None:
            self._ask_for_room()
        if self._rest or self._read_at_once >= _MOST_AT_ONCE:
            self._let_others()
            self._throttle()

    def _let_others(self) -> None:
        """Others have their turn before anything more of this client is read, parsed or handled."""
        if not self._resting:
            self._resting = True
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        """Others have had their turn."""
        self._resting = False
        self._read_at_once = 0
        if self._transport.is_closing():
            return
        self._turn_began = self._context.clock()
        self._work()
        if self._rest and not self._resting:
            rest, self._rest = self._rest, b""
            self._take(rest)
            self._account()
            self._throttle()

    def _throttle(self) -> None:
        """Stops and resumes reading by how much waits."""
        full = (
            self._write_paused
            or self._resting
            or self._wanted > 0
            or len(self._queue) >= _MAX_PIPELINED
            or (bool(self._queue) and self._held >= _MAX_PIPELINED_BYTES)
        )
        if full == self._read_paused or self._transport.is_closing():
            return
        self._read_paused = full
        if full:
            self._transport.pause_reading()
        else:
            self._read_since = self._context.clock()
            self._transport.resume_reading()

    def _go_on(self) -> None:
        """Lets a client that waits for it send its body, once its request is the next and there is room."""
        if self._reader.expects_continue and self._pending is None and not self._queue and not self._wanted:
            self._reader.expects_continue = False
            self._last_activity = self._read_since = self._context.clock()
            self._transport.write(_CONTINUE)

    def _send(self, request: Request, response: Response) -> None:
        context = self._context
        now = context.clock()
        # Requests that wait behind this one, or have begun, are answered before the connection ends.
        last = not request.keep_alive or (
            (context.draining or self._eof or now >= self._end_of_life)
            and not self._queue
            and not self._rest
            and self._reader.request is None
        )
        body = b"" if request.method == b"HEAD" else response.body
        identifier = request.headers.get(b"x-request-id")
        head = b"HTTP/1.1 %d %b\r\n%b%bcontent-type: %b\r\ncontent-length: %d\r\n%b%b%b\r\n" % (
            response.status,
            REASONS[response.status],
            context.date,
            context.extra_headers,
            response.content_type,
            len(response.body),
            response.headers,
            b"" if identifier is None else b"x-request-id: %b\r\n" % identifier,
            _connection_header(request, last),
        )
        if len(body) > _LARGEST_COPY:
            self._transport.writelines((head, body))
            self._account()
        else:
            self._transport.write(head + body)
        self._last_activity = now
        if last:
            self._clear()
            self._end(linger=request.refusal is not None or request.keep_alive)

    def _clear(self) -> None:
        """Drops the requests that wait."""
        self._queue.clear()
        self._queued = 0
        self._rest = b""

    def _end(self, linger: bool) -> None:
        """Ends the connection; `linger` where the peer may be sending still."""
        self._reader.deaf = True
        if not linger or self._eof:
            self._transport.close()
            return
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._transport.close)

    # memory

    def _ask_for_room(self) -> None:
        """Asks for the memory that the rest of the request will need; reading stops until it is there."""
        more = self._reader.memory_needed - self._promised
        if more <= 0 or self._wanted:
            return
        if self._context.budget.take(self, more):
            self._promised += more
        else:
            self._wanted = more
            self._starving_since = self._context.clock()
            self._throttle()

    def _release_promise(self) -> None:
        budget = self._context.budget
        if self._wanted:
            self._wanted = 0
            budget.withdraw(self)
        if self._promised:
            released, self._promised = self._promised, 0
            budget.change(-released)

    def _account(self) -> None:
        """Keeps the budget's account of what is there."""
        held = self._queued + len(self._rest) + self._transport.get_write_buffer_size()
        if self._running is not None:
            held += _size(self._running)
        difference, self._held = held - self._held, held
        if difference:
            self._context.budget.change(difference)

    # peers that have gone

    def _probe(self) -> None:
        """Finds out whether a client that sends nothing more has gone altogether.

        A socket that was closed answers whatever reaches it with a reset; one that is only done with sending takes an
        interim answer for what it is (RFC 9110, 15.2). Where nobody waits, nothing is gained by knowing.
        """
        if self._running is None or self._transport.is_closing() or not self._context.crowded():
            return
        # Who speaks HTTP/1.0 knows no interim answers.
        if not self._write_paused and self._running.version != "1.0":
            self._transport.write(_CONTINUE)
        asyncio.get_running_loop().call_later(_PROBE_SECONDS, self._look_for_peer)

    def _look_for_peer(self) -> None:
        connection = self._transport.get_extra_info("socket")
        if connection is None:
            return  # uvloop's transport has none once it is closed
        with contextlib.suppress(OSError):
            if connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE:
                self.abort()


def _size(request: Request) -> int:
    """Bytes that a request takes while it waits or runs; its body may have been let go of."""
    return request.body.nbytes + request.head_size + _BESIDE


def _connection_header(request: Request, last: bool) -> bytes:
    if last:
        return b"connection: close\r\n"
    # HTTP/1.1 connections persist unsaid, those of HTTP/1.0 (ApacheBench) by agreement.
    return b"connection: keep-alive\r\n" if request.announce_keep_alive else b""
