"""The Open Inference Protocol v2 over REST: HTTP requests to answers. What is run and when is the engine's."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from podium_serving import __version__
from podium_serving.engine import Engine
from podium_serving.http.context import NO_ROOM, Budget, Holding
from podium_serving.http.message import Request, Response, error, json_response
from podium_serving.inference import InferRequest, InferResult, Misfit, NoMemory, Overloaded, RunError, TooSlow
from podium_serving.json_codec import LARGE, JsonCodec
from podium_serving.large_json import LargeJson
from podium_serving.logs import LOG, log
from podium_serving.metrics import CONTENT_TYPE, Metrics
from podium_serving.routes import Resource, Routes
from podium_serving.settings import Settings
from podium_serving.signature import BadRequest, Signature, TooLarge

Answer = Response | asyncio.Future[Response]

_READ = ("GET", "HEAD")


class Service:
    """Answers requests for one model. `handle` never raises."""

    def __init__(
        self,
        settings: Settings,
        signature: Signature,
        engine: Engine,
        metrics: Metrics,
        large: LargeJson,
        budget: Budget,
    ) -> None:
        """Of the budget, which is that of all connections, tensors are held for as long as they are there."""
        self._budget = budget
        self._settings = settings
        self._signature = signature
        self._engine = engine
        self._metrics = metrics
        self._large = large
        self._codec = JsonCodec(signature, settings.model, settings.version)
        self.draining = False
        # Monotonic time of the latest inference request.
        self.last_request = time.monotonic()
        self._infer_endpoint = self._infer
        self._routes = Routes(self._resources(), {"model": settings.model, "version": settings.version})

    def _resources(self) -> list[Resource]:
        model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
        return [
            Resource("/v2", _READ, self._server_metadata),
            Resource("/v2/health/live", _READ, self._live),
            Resource("/v2/health/ready", _READ, self._ready),
            Resource("/metrics", _READ, self._exposition),
            *(Resource(path, _READ, self._model_metadata) for path in (model, version)),
            *(Resource(f"{path}/ready", _READ, self._model_ready) for path in (model, version)),
            *(Resource(f"{path}/infer", ("POST",), self._infer_endpoint) for path in (model, version)),
        ]

    def handle(self, request: Request) -> Answer:
        """The answer, or a future of it that never fails; cancelling that gives the request up."""
        try:
            resource, missing = self._routes.find(request.target)
            # What does not reach the model is counted all the same, where it was meant for it.
            counted = resource is not None and resource.endpoint is self._infer_endpoint
            if counted:
                self._metrics.started()
            answer: Answer
            if request.refusal is not None:
                answer = request.refusal
            elif resource is None or missing:
                answer = error(404, missing)
            elif request.method.decode("latin-1") not in resource.methods:
                answer = _not_allowed(request, resource.methods)
            else:
                answer = resource.endpoint(request)
        except Exception as problem:
            answer = _internal(problem)
        if not counted:
            return answer
        if isinstance(answer, Response):
            return self._answered(request, answer)
        answer.add_done_callback(lambda done: self._ended(request, done))
        return answer

    def _ended(self, request: Request, done: asyncio.Future[Response]) -> None:
        if done.cancelled():
            self._metrics.abandoned()
        else:
            self._answered(request, done.result())

    def _answered(self, request: Request, response: Response) -> Response:
        now = time.monotonic()
        self.last_request = now
        self._metrics.answered(response.status, now - request.received)
        return response

    # metadata and health

    def _server_metadata(self, request: Request) -> Response:
        return json_response(200, {"name": "podium-serving", "version": __version__, "extensions": []})

    def _live(self, request: Request) -> Response:
        return json_response(200, {"live": True})

    def _ready(self, request: Request) -> Response:
        if self.draining:
            return json_response(503, {"ready": False, "error": "the server is shutting down"})
        return json_response(200, {"ready": True})

    def _model_ready(self, request: Request) -> Response:
        if self.draining:
            return json_response(
                503, {"name": self._settings.model, "ready": False, "error": "the server is shutting down"}
            )
        return json_response(200, {"name": self._settings.model, "ready": True})

    def _model_metadata(self, request: Request) -> Response:
        return json_response(
            200,
            {
                "name": self._settings.model,
                "versions": [self._settings.version],
                "platform": "onnxruntime_onnx",
                "inputs": [spec.metadata() for spec in self._signature.inputs],
                "outputs": [spec.metadata() for spec in self._signature.outputs],
            },
        )

    def _exposition(self, request: Request) -> Response:
        query = request.target.partition(b"?")[2].decode("latin-1")
        names = [value for key, value in parse_qsl(query) if key == "name[]"]
        return Response(200, self._metrics.exposition(names), CONTENT_TYPE)

    # inference

    def _infer(self, request: Request) -> Answer:
        if b"inference-header-content-length" in request.headers:
            return error(
                400,
                "the binary tensor extension (Inference-Header-Content-Length) is not offered by this server yet; "
                "send the tensors as JSON",
            )
        holding = Holding(self._budget)
        try:
            self._admit(request)
            if request.body.nbytes > LARGE:
                return _until_done(self._infer_large(request, holding), holding)
            call = self._codec.decode(request.body)
            result = self._engine.submit(call)
            if isinstance(result, InferResult) and result.nbytes <= LARGE:
                return Response(200, self._codec.encode(call, result))
        except Exception as problem:
            return _failed(problem)
        # Now, not when the task begins: by then as many others are here as there are connections.
        holding.add(call.nbytes + (result.nbytes if isinstance(result, InferResult) else 0))
        return _until_done(self._finish(call, result, holding), holding)

    def _admit(self, request: Request) -> None:
        """Raises Overloaded while answers, or anything else, are more than what there is room for.

        How much an answer will need is not known before it is computed.
        """
        if self._budget.used_up(request.body.nbytes):
            self._metrics.shed("memory")
            raise Overloaded(NO_ROOM)
        self._large.admit()

    async def _infer_large(self, request: Request, holding: Holding) -> Response:
        try:
            call, waited = await self._large.decode(request.body)
            request.let_go()
            holding.add(call.nbytes)
            result = self._engine.submit(call, waited)
            if isinstance(result, InferResult):
                holding.add(result.nbytes)
        except Exception as problem:
            return _failed(problem)
        return await self._finish(call, result, holding)

    async def _finish(
        self, call: InferRequest, result: "InferResult | asyncio.Future[InferResult]", holding: Holding
    ) -> Response:
        """`holding` has what is there: the request's tensors, and the result's unless it is still to come."""
        try:
            if not isinstance(result, InferResult):
                result = await result
                holding.add(result.nbytes)
            if result.nbytes <= LARGE:
                return Response(200, self._codec.encode(call, result))
            # Strings would hold up this process on their way to the other as much as they do here.
            if any(tensor.dtype.hasobject for tensor in result.tensors):
                return Response(200, await self._large.aside(partial(self._codec.encode, call, result)))
            return Response(200, await self._large.encode(call, result))
        except Exception as problem:
            return _failed(problem)


def _until_done(answer: Coroutine[Any, Any, Response], holding: Holding) -> asyncio.Future[Response]:
    """The answer's task, also one that is cancelled, at whose end nothing is held any more."""
    task = asyncio.ensure_future(answer)
    task.add_done_callback(lambda _: holding.release())
    return task


def _failed(problem: Exception) -> Response:
    """The answer that stands for what a codec or the engine raised."""
    if isinstance(problem, TooLarge):
        return error(413, str(problem))
    if isinstance(problem, BadRequest):
        return error(400, str(problem))
    if isinstance(problem, Misfit):
        return error(400, f"the model cannot take these inputs together: {problem}")
    if isinstance(problem, Overloaded):
        return error(503, str(problem), f"retry-after: {problem.retry_after}\r\n".encode())
    if isinstance(problem, NoMemory):
        what = (
            "the memory does not suffice for this run; send fewer rows at once, or raise the container's memory limit"
        )
    elif isinstance(problem, TooSlow):
        what = "large JSON took too long and was given up; send fewer rows at once, or raise the container's CPU limit"
    elif isinstance(problem, RunError):
        what = "the model failed on this input"
    else:
        return _internal(problem)
    log(logging.ERROR, what, error=str(problem))
    return error(500, f"{what}: {problem}")


def _internal(problem: Exception) -> Response:
    LOG.error("a request failed inside the server: %s", problem, exc_info=problem)
    return error(500, "the server failed; its log says why")


def _not_allowed(request: Request, methods: tuple[str, ...]) -> Response:
    given, allowed = request.method.decode("latin-1"), ", ".join(methods)
    return error(405, f"method {given} is not allowed here; expected {allowed}", f"allow: {allowed}\r\n".encode())
