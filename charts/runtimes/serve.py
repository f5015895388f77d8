"""Runs TorchServe as the container's first process, with front.py before it.

TorchServe resets every connection when it is told to stop, requests in flight included; `torchserve --foreground` hands
no signal on and ends with 0 however it ended; and where a model cannot be loaded it tries for minutes while /ping says
that all is well. So this process listens in its place; told to stop it drains, and only then ends TorchServe; and a
model that cannot be loaded ends the container, with the exception as its termination message.
"""

# ruff: noqa: UP041, ASYNC230 (TorchServe's own image has Python 3.9; a file of a few bytes does not block)

import asyncio
import json
import os
import re
import signal
import sys
import tempfile

from framing import LENGTH
from front import Front

MODEL = os.environ["PODIUM_MODEL"]
STORE = os.environ["PODIUM_MODEL_PATH"]
PORT = int(os.environ["PODIUM_HTTP_PORT"])
LIFE = float(os.environ.get("PODIUM_CONNECTION_SECONDS", "10"))
GRACE = float(os.environ.get("PODIUM_GRACE_SECONDS", "20"))
VERSION = os.environ.get("PODIUM_MODEL_VERSION", "")
REVISION = os.environ.get("PODIUM_REVISION", "")
SERVER = ("127.0.0.1", 8083)
MANAGEMENT = ("127.0.0.1", 8081)
LOGS = os.environ.get("LOG_LOCATION", "/tmp/logs")
TERMINATION_LOG = "/dev/termination-log"
PID_FILE = os.path.join(tempfile.gettempdir(), ".model_server.pid")

EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Interrupt|Exit)(: |$)")
ATTEMPTS = 3
"""Worker processes that may end without having loaded the model; the fourth is not waited for."""
STOP_SECONDS = 3
CANNOT_LOAD = 65


async def ask(path):
    """Head and body of the management API's answer."""
    reader, writer = await asyncio.open_connection(*MANAGEMENT)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        return head, await reader.readexactly(int(LENGTH.search(head)[1]))
    finally:
        writer.close()


async def state():
    """(why the model is not ready or an empty text, the process ids of its workers, whether TorchServe knows it)."""
    try:
        head, body = await asyncio.wait_for(ask(f"/models/{MODEL}"), 4)
    except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, TypeError) as error:
        return f"the management API does not answer yet: {error!r}", set(), True
    if head[9:12] != b"200":
        return f"TorchServe does not know the model: {body[:500].decode()}", set(), False
    workers = [worker for version in json.loads(body) for worker in version["workers"]]
    if any(worker["status"] == "READY" for worker in workers):
        return "", set(), True
    found = ", ".join(worker["status"] for worker in workers) or "there is none"
    return "no worker of the model is READY: " + found, {worker["pid"] for worker in workers if worker["pid"] > 0}, True


async def why_not():
    """Why the model is not ready; an empty text if it is."""
    return (await state())[0]


async def load():
    """Returns once the model is loaded, or with the reason once it is clear that it will not be."""
    seen = set()
    while True:
        reason, pids, known = await state()
        if not reason:
            return ""
        seen |= pids
        if not known or len(seen) > ATTEMPTS:
            log = ("model_log.log", "Torch worker started") if known else ("ts_log.log", "Failed to load model")
            return cause(*log) or reason
        await asyncio.sleep(0.5)


def cause(name, marker):
    """The first exception behind the last `marker` that has one, in one of TorchServe's logs; empty if there is none.

    The first one: those behind it are what the server makes of it.
    """
    try:
        with open(os.path.join(LOGS, name), encoding="utf-8", errors="replace") as file:
            lines = [line.rstrip().rpartition(" MODEL_LOG - ")[2] for line in file]
    except OSError:
        return ""
    found, fresh = "", False
    for line in lines:
        fresh = fresh or marker in line
        if fresh and EXCEPTION.match(line):
            found, fresh = line[:1000], False
    return found


def terminate(text):
    """Leave the reason where kubelet takes it from, in the words of Podium's own server."""
    message = {"result": "failed", "reason": "ModelInvalid", "permanent": True}
    message["message"] = f"TorchServe cannot load the model: {text}"
    with open(TERMINATION_LOG, "w", encoding="utf-8") as file:
        json.dump(message, file)
    print(message["message"], file=sys.stderr, flush=True)


async def main():
    """Run until told to stop, or until TorchServe ends or cannot load its model; the exit code."""
    if os.path.exists(PID_FILE):
        os.remove(PID_FILE)  # of an earlier container of this pod: it would name a process that is none of ours
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    command = ["torchserve", "--start", "--foreground", "--ncs", "--disable-token-auth", "--model-store", STORE]
    command += ["--models", f"{MODEL}={MODEL}.mar", *sys.argv[1:]]
    process = await asyncio.create_subprocess_exec(*command)
    labels = (("model", MODEL), ("version", VERSION), ("revision", REVISION))
    counted = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels)
    front = Front(SERVER, REVISION, why_not, counted, LIFE)
    server = await front.listen(PORT)
    ended, stopped, loading = (asyncio.ensure_future(each) for each in (process.wait(), stop.wait(), load()))
    await asyncio.wait([ended, stopped, loading], return_when=asyncio.FIRST_COMPLETED)
    failed = loading.result() if loading.done() else ""
    if failed:
        terminate(failed)
    elif not stopped.done():
        await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
    loading.cancel()
    if ended.done():
        print(f"TorchServe ended by itself, with {ended.result()}: see the log above", file=sys.stderr, flush=True)
        return 1
    if not failed:
        await front.drain(max(GRACE - STOP_SECONDS, 0))
    server.close()
    try:
        with open(PID_FILE, encoding="ascii") as file:
            os.kill(int(file.read()), signal.SIGTERM)
        await asyncio.wait_for(ended, STOP_SECONDS)
    except (OSError, ValueError, asyncio.TimeoutError):
        process.kill()
    return CANNOT_LOAD if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
