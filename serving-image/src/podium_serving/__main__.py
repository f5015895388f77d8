"""`python -m podium_serving`: the server. README.md tells its environment variables and exit codes."""

import os
import signal
import sys

from podium_serving import logs
from podium_serving.environment import InvalidEnvironment
from podium_serving.settings import Settings
from podium_serving.termination import fail

EXIT_UNEXPECTED = 1
EXIT_CONFIGURATION = 64
EXIT_INVALID_MODEL = 65
EXIT_NO_MODEL = 66


def main() -> int:
    """Configuration, model, server; returns the exit code."""
    # As a container's first process it would otherwise ignore the signal until the server is up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = Settings.from_environment(os.environ)
    except InvalidEnvironment as problem:
        logs.configure("info", {})
        return fail(EXIT_CONFIGURATION, "InvalidConfiguration", str(problem), permanent=True)
    common = {"model": settings.model, "version": settings.version, "revision": settings.revision}
    logs.configure(settings.log_level, common)
    try:
        return _serve(settings)
    except Exception as problem:
        logs.LOG.exception("the server ended unexpectedly")
        return fail(EXIT_UNEXPECTED, "Unexpected", f"{type(problem).__name__}: {problem}", permanent=False)


def _serve(settings: Settings) -> int:
    # Imported late, so that a mistake in the configuration is told before the slow import of onnxruntime.
    import uvloop

    from podium_serving.loading import load
    from podium_serving.model_file import ModelError
    from podium_serving.server import listen, serve

    try:
        model, warm = load(settings)
    except ModelError as problem:
        code = EXIT_NO_MODEL if problem.reason == "ModelNotFound" else EXIT_INVALID_MODEL
        return fail(code, problem.reason, str(problem), permanent=True)
    try:
        listener = listen(settings.port)
    except OSError as problem:
        return fail(EXIT_UNEXPECTED, "AddressInUse", f"port {settings.port}: {problem.strerror}", permanent=False)
    return uvloop.run(serve(settings, model, warm, listener))


if __name__ == "__main__":
    sys.exit(main())
