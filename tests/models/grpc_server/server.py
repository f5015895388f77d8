"""Runs in a pod: answers every gRPC call with the name of the pod's revision.

    python server.py HTTP_PORT GRPC_PORT

Over HTTP it answers anything with an empty 200, once gRPC is served: the probes ask that, and so do routers before
traffic is led to them. Told to stop, it says so to its callers (GOAWAY) and ends with the last call under way.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress

import grpc
import grpc.aio

REVISION = os.environ["PODIUM_REVISION"].encode()
GRACE = float(os.environ["PODIUM_GRACE_SECONDS"])
EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


async def name(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
    """Answers a call."""
    return REVISION


class Named(grpc.GenericRpcHandler):
    """Has every method there may be; requests and answers are bytes."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """The same for each."""
        return grpc.unary_unary_rpc_method_handler(name)


async def well(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers a probe."""
    with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(EMPTY)
        await writer.drain()
    writer.close()


async def main(http_port: int, grpc_port: int) -> None:
    """Serves until SIGTERM."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    server = grpc.aio.server(handlers=[Named()])
    server.add_insecure_port(f"0.0.0.0:{grpc_port}")
    await server.start()
    async with await asyncio.start_server(well, "0.0.0.0", http_port):
        await told.wait()
        await server.stop(GRACE)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
