"""The Open Inference Protocol v2 over REST: HTTP requests to answers. What is run and when is the engine's."""

import asyncio
import logging
import time
from functools import partial
from urllib.parse import parse_qsl

from podium_serving import __version__, json_size
from podium_serving.calls import Call
from podium_serving.engine import Engine
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
        self, settings: Settings, signature: Signature, engine: Engine, metrics: Metrics, large: LargeJson
    ) -> None:
        self._settings = settings
        self._signature = signature
        self._engine = engine
        self._metrics = metrics
        self._large = large
        self._codec = JsonCodec(signature, settings.model, settings.version, memory=engine.memory)
        self.draining = False
        # Monotonic time of the latest inference request.
        self.last_request = time.monotonic()
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
            *(Resource(f"{path}/infer", ("POST",), None) for path in (model, version)),
        ]

    def handle(self, request: Request) -> Answer:
        """The answer, or a future of it that never fails; cancelling that gives the request up."""
        call: Call | None = None
        try:
            resource, missing = self._routes.find(request.target)
            # What does not reach the model is counted all the same, where it was meant for it.
            if resource is not None and resource.endpoint is None:
                call = self._engine.begin(request.body.nbytes)
            answer: Answer
            if request.refusal is not None:
                answer = request.refusal
            elif resource is None or missing:
                answer = error(404, missing)
            elif request.method.decode("latin-1") not in resource.methods:
                answer = _not_allowed(request, resource.methods)
            elif resource.endpoint is not None:
                answer = resource.endpoint(request)
            else:
                assert call is not None
                answer = self._infer(request, call)
        except Exception as problem:
            answer = _internal(problem)
        if call is None:
            return answer
        if isinstance(answer, Response):
            return self._answered(request, call, answer)
        answer.add_done_callback(partial(self._ended, request, call))
        return answer

    def _ended(self, request: Request, call: Call, done: asyncio.Future[Response]) -> None:
        if done.cancelled():
            call.abandoned()
        else:
            self._answered(request, call, done.result())

    def _answered(self, request: Request, call: Call, response: Response) -> Response:
        now = time.monotonic()
        self.last_request = now
        call.answered(response.status, now - request.received)
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

    def _infer(self, request: Request, call: Call) -> Answer:
        if b"inference-header-content-length" in request.headers:
            return error(
                400,
                "the binary tensor extension (Inference-Header-Content-Length) is not offered by this server yet; "
                "send the tensors as JSON",
            )
        try:
            self._engine.admit(call)
            self._large.admit()
            if request.body.nbytes > LARGE:
                return asyncio.ensure_future(self._infer_large(request, call))
            asked = self._codec.decode(request.body)
            result = self._engine.submit(call, asked)
            if isinstance(result, InferResult) and result.nbytes <= LARGE:
                return Response(200, self._codec.encode(asked, result))
        except Exception as problem:
            return _failed(problem)
        return asyncio.ensure_future(self._finish(call, asked, result))

    async def _infer_large(self, request: Request, call: Call) -> Response:
        try:
            most = await json_size.most(self._signature, request.body)
            asked, waited = await self._large.decode(call, request.body, partial(call.reserve, most))
            # In this order: others must not get the room of the body before that of the tensors is taken.
            call.hold(asked.nbytes)
            request.let_go()
            call.body = 0
            result = self._engine.submit(call, asked, waited)
        except Exception as problem:
            return _failed(problem)
        return await self._finish(call, asked, result)

    async def _finish(
        self, call: Call, asked: InferRequest, result: "InferResult | asyncio.Future[InferResult]"
    ) -> Response:
        try:
            if not isinstance(result, InferResult):
                result = await result
            if result.nbytes <= LARGE:
                return Response(200, self._codec.encode(asked, result))
            # Strings would hold up this process on their way to the other as much as they do here.
            if any(tensor.dtype.hasobject for tensor in result.tensors):
                return Response(200, await self._large.aside(call, partial(self._codec.encode, asked, result)))
            return Response(200, await self._large.encode(call, asked, result))
        except Exception as problem:
            return _failed(problem)


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
            "the memory does not suffice for this run; send fewer rows at once, or raise "
            "spec.runtime.resources.limits.memory"
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
