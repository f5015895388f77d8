"""The client of tests/load.py over gRPC: the same rates, counts and time-out; no call that a server saw is repeated.

`tests.load.Load` starts it for a URL like grpc://10.0.0.7:8081/package.Service/Method. Each kept connection is a
channel of its own. A failure is every status but OK, and an answer that names another revision than its metadata: the
server is tests/models/grpc_server, whose answer is the name of its revision.

What every gRPC client does by itself stays on ("transparent retries", gRFC A6): a call that finds its connection told
to go away in the moment in which it begins, and so never leaves the process, goes to the next connection. Without it
4 of 63,000 calls failed beside a server that left in good order; nothing on the other side can prevent that.
"""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio

from tests.load import Answer, Client, Failure, main

OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    # Else channels to the same address share a connection.
    ("grpc.use_local_subchannel_pool", 1),
)
REVISION = "x-podium-revision"


class Channel:
    """One channel, which has a connection from its first call on."""

    local = "?"

    def __init__(self) -> None:
        self.open = False
        self._channel: grpc.aio.Channel | None = None
        self._closing: asyncio.Task[None] | None = None

    def connect(self, target: str) -> None:
        """Makes the channel; grpc connects it as it is first used."""
        self._channel, self.open = grpc.aio.insecure_channel(target, options=OPTIONS), True

    async def ask(self, method: str, request: bytes) -> Answer:
        """One call; raises Failure for any status but OK."""
        assert self._channel is not None
        call = self._channel.unary_unary(method)(request, wait_for_ready=False)
        try:
            body = await call
            metadata = {key: str(value) for key, value in await call.initial_metadata()}
        except grpc.aio.AioRpcError as error:
            raise Failure(f"grpc {error.code().name}", str(error.details())[:200]) from error
        return Answer(200, {REVISION.encode(): metadata.get(REVISION, "").encode()}, body)

    def close(self) -> None:
        """Ends it."""
        self.open = False
        if self._channel is not None and self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._channel.close())


class GrpcClient(Client):
    """Calls in place of requests."""

    new = Channel

    def __init__(self, task: Mapping[str, Any]) -> None:
        super().__init__(task)
        where = urlsplit(task["url"])
        self._target, self._method = where.netloc, where.path

    async def exchange(self, connection: Channel, body: bytes, *, keep: bool) -> Answer:
        """See Client."""
        if not connection.open:
            connection.connect(self._target)
        return await connection.ask(self._method, body)

    def judge(self, answer: Answer, answers: Mapping[str, str]) -> str:
        """See Client: right is the revision's own name."""
        revision = answer.headers[REVISION.encode()].decode()
        if not revision:
            raise Failure("nameless", f"the answer has no metadata {REVISION}")
        if answer.body.decode(errors="replace") != revision:
            raise Failure("wrong", f"{answer.body[:200]!r} in an answer of {revision}", revision)
        return revision


if __name__ == "__main__":
    main(GrpcClient)
