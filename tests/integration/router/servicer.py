"""A gRPC server that says which revision it is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio

from tests.integration.router.routing_rig import HERE

ASK, STREAM = "/inference.GRPCInferenceService/ModelInfer", "/inference.GRPCInferenceService/ModelStreamInfer"


class Servicer(grpc.GenericRpcHandler):
    """Answers both methods with the name of its revision; a stream has one answer for each request."""

    def __init__(self, revision: str) -> None:
        self._said = revision.encode()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method == ASK:
            return grpc.unary_unary_rpc_method_handler(self._one)
        return grpc.stream_stream_rpc_method_handler(self._many)

    async def _one(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        if request == b"no":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
        return self._said

    async def _many(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        async for _ in requests:
            yield self._said


@asynccontextmanager
async def serving(revision: str, *, grace: float = 0.0) -> AsyncIterator[str]:
    """The address of one server; at its end it answers for so many seconds more what it was asked."""
    server = grpc.aio.server(handlers=[Servicer(revision)])
    port = server.add_insecure_port(f"{HERE}:0")
    await server.start()
    try:
        yield f"{HERE}:{port}"
    finally:
        await server.stop(grace)
