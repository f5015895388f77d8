"""The Open Inference Protocol v2 over REST: which answer belongs to which request."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from urllib.parse import quote, unquote

from podium_serving import __version__
from podium_serving.http.message import Request, Response, error, json_response
from podium_serving.json_codec import InferRequest, JsonCodec
from podium_serving.logs import log
from podium_serving.metrics import CONTENT_TYPE, Metrics
from podium_serving.model import Fault, Model, RunError
from podium_serving.settings import Settings
from podium_serving.signature import BadRequest

# A run that is expected to be shorter is done on the event loop, since handing it to a thread and back costs 0.1 ms; a
# longer one would keep health checks and other connections waiting.
INLINE_SECONDS = 0.005


class Service:
    """Answers requests for one model. `handle` never raises."""

    def __init__(self, settings: Settings, model: Model, metrics: Metrics, executor: Executor) -> None:
        self._settings = settings
        self._model = model
        self._metrics = metrics
        self._executor = executor
        self._codec = JsonCodec(model.signature, settings.model, settings.version)
        self.draining = False
        # Monotonic time of the latest inference request.
        self.last_request = time.monotonic()
        self._fixed: dict[str, Callable[[Request], Response]] = {
            "/v2": self._server_metadata,
            "/v2/": self._server_metadata,
            "/v2/health/live": self._live,
            "/v2/health/ready": self._ready,
            "/metrics": self._exposition,
        }
        # The targets as most clients spell them; other spellings go through _route.
        self._infer_targets = {
            f"/v2/models/{spell(settings.model)}{version}/infer".encode()
            for spell in (str, lambda name: quote(name, safe=""))
            for version in ("", f"/versions/{spell(settings.version)}")
        }

    def handle(self, request: Request) -> "Response | asyncio.Future[Response]":
        """The answer, or a future of it that never fails."""
        try:
            if request.refusal is not None:
                return self._refused(request, request.refusal)
            if request.method == b"POST" and request.target in self._infer_targets:
                return self._infer(request)
            return self._route(request)
        except Exception as problem:
            return self._internal(problem)

    def _route(self, request: Request) -> "Response | asyncio.Future[Response]":
        path = request.target.split(b"?", 1)[0].decode("latin-1")
        # Segments are decoded after splitting: a version may hold an encoded slash.
        segments = [unquote(segment) for segment in path.split("/")]
        if path in self._fixed:
            return self._read(request, self._fixed[path])
        if len(segments) < 4 or segments[:3] != ["", "v2", "models"]:
            return error(404, f"{path} is not a path of this server; see /v2 and /v2/models/{self._settings.model}")
        missing = self._missing(segments[3:])
        if segments[-1] == "infer" and len(segments) > 4:
            return (
                self._infer(request)
                if not missing and request.method == b"POST"
                else self._not_inferred(request, missing)
            )
        if missing:
            return missing
        return self._read(request, self._ready if segments[-1] == "ready" else self._model_metadata)

    def _refused(self, request: Request, refusal: Response) -> Response:
        """What the HTTP layer cannot take is counted as well, where it was meant for the model."""
        if request.target not in self._infer_targets:
            return refusal
        self._metrics.started()
        return self._answer(request, refusal)

    def _not_inferred(self, request: Request, missing: Response | None) -> Response:
        """An inference request that reaches no model is counted as one all the same."""
        self._metrics.started()
        return self._answer(request, missing or _not_allowed(request, "POST"))

    def _missing(self, segments: list[str]) -> Response | None:
        """The 404 for a model, version or resource that is not here; segments follow /v2/models/."""
        name, rest = segments[0], segments[1:]
        settings = self._settings
        if name != settings.model:
            return error(404, f"model {name!r} is not served here; this server has {settings.model!r}")
        if len(rest) >= 2 and rest[0] == "versions":
            if rest[1] != settings.version:
                return error(
                    404,
                    f"version {rest[1]!r} of model {name!r} is not served here; this server has {settings.version!r}",
                )
            rest = rest[2:]
        if rest not in ([], ["infer"], ["ready"]):
            return error(404, f"model {name!r} has no resource {'/'.join(rest)!r}; expected infer or ready")
        return None

    def _read(self, request: Request, endpoint: Callable[[Request], Response]) -> Response:
        return endpoint(request) if request.method in (b"GET", b"HEAD") else _not_allowed(request, "GET, HEAD")

    # endpoints

    def _server_metadata(self, request: Request) -> Response:
        return json_response(200, {"name": "podium-serving", "version": __version__, "extensions": []})

    def _live(self, request: Request) -> Response:
        return json_response(200, {"live": True})

    def _ready(self, request: Request) -> Response:
        if self.draining:
            return json_response(503, {"ready": False, "error": "the server is shutting down"})
        return json_response(200, {"ready": True})

    def _model_metadata(self, request: Request) -> Response:
        signature = self._model.signature
        return json_response(
            200,
            {
                "name": self._settings.model,
                "versions": [self._settings.version],
                "platform": "onnxruntime_onnx",
                "inputs": [spec.metadata() for spec in signature.inputs],
                "outputs": [spec.metadata() for spec in signature.outputs],
            },
        )

    def _exposition(self, request: Request) -> Response:
        return Response(200, self._metrics.exposition(), CONTENT_TYPE)

    # inference

    def _infer(self, request: Request) -> "Response | asyncio.Future[Response]":
        self._metrics.started()
        try:
            if b"inference-header-content-length" in request.headers:
                raise BadRequest(
                    "the binary tensor extension (Inference-Header-Content-Length) is not offered by this server yet; "
                    "send the tensors as JSON"
                )
            call = self._codec.decode(request.body)
        except BadRequest as problem:
            return self._answer(request, error(400, str(problem)))
        except Exception as problem:
            return self._answer(request, self._internal(problem))
        if self._model.expected_seconds(call.feeds) < INLINE_SECONDS:
            return self._answer(request, self._run(call))
        done: asyncio.Future[Response] = asyncio.get_running_loop().run_in_executor(self._executor, self._run, call)
        done.add_done_callback(lambda future: self._answer(request, future.result()))
        return done

    def _run(self, call: InferRequest) -> Response:
        """Runs the model; on the event loop or in a thread."""
        try:
            started = time.perf_counter()
            tensors = self._model.run(call.feeds, call.outputs)
            self._metrics.observe_inference(time.perf_counter() - started)
            return Response(200, self._codec.encode(call, tensors))
        except RunError as problem:
            return _failed(problem)
        except Exception as problem:
            return self._internal(problem)

    def _answer(self, request: Request, response: Response) -> Response:
        now = time.monotonic()
        self.last_request = now
        self._metrics.answered(response.status, now - request.started)
        return response

    def _internal(self, problem: Exception) -> Response:
        log(logging.ERROR, "a request failed inside the server", error=str(problem))
        logging.getLogger("podium_serving").debug("", exc_info=problem)
        return error(500, "the server failed; its log says why")


def _failed(problem: RunError) -> Response:
    if problem.fault is Fault.INPUT:
        return error(400, f"the model cannot compute this input: {problem}")
    what = "the model failed, and has not succeeded before"
    if problem.fault is Fault.MEMORY:
        what = (
            "the memory does not suffice for this run; send fewer rows at once, or raise the container's memory limit"
        )
    log(logging.ERROR, what, error=str(problem))
    return error(500, f"{what}: {problem}")


def _not_allowed(request: Request, allowed: str) -> Response:
    given = request.method.decode("latin-1")
    return error(405, f"method {given} is not allowed here; expected {allowed}", f"allow: {allowed}\r\n".encode())
