"""Runs in a pod: answers every gRPC call, and each message of a stream, with the name of the pod's revision.

    python server.py GRPC_PORT

A request that is not empty is the number of seconds that its answer takes. Told to stop, the server says so to its
callers (GOAWAY) and ends with the last call under way.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator

import grpc
import grpc.aio

REVISION = os.environ["PODIUM_REVISION"].encode()
GRACE = float(os.environ["PODIUM_GRACE_SECONDS"])


async def name(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
    """Answers a call."""
    await asyncio.sleep(float(request or 0))
    return REVISION


async def names(
    requests: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[bytes, bytes]"
) -> AsyncIterator[bytes]:
    """Answers each message of a stream."""
    async for request in requests:
        yield await name(request, context)


class Named(grpc.GenericRpcHandler):
    """Has every method there may be, with `Stream` in its name for streams; requests and answers are bytes."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """The same for each."""
        if "Stream" in details.method:
            return grpc.stream_stream_rpc_method_handler(names)
        return grpc.unary_unary_rpc_method_handler(name)


async def main(port: int) -> None:
    """Serves until SIGTERM."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    server = grpc.aio.server(handlers=[Named()])
    server.add_insecure_port(f"0.0.0.0:{port}")
    await server.start()
    await told.wait()
    await server.stop(GRACE)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
