"""The process beside Envoy: `python -m podium.router.agent`. Watches, renders, puts down, and says what is loaded.

With `--once`, as an init container, it puts down what is wanted and ends, so that Envoy starts with it: also when the
API server cannot be had any more a moment later. Afterwards it runs beside Envoy. With `--leave` it is the hook that
the kubelet runs in Envoy's container before it stops it: it drains Envoy, and ends when Envoy may.
"""

import argparse
import http.client
import json
import logging
import os
import resource
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from podium.router.admin import Admin
from podium.router.bootstrap import bootstrap
from podium.router.discovery import Discovery
from podium.router.drain import leave, outlast
from podium.router.files import Files, NotLoaded
from podium.router.places import BOOTSTRAP, FOLDER, KNOWN, MEMORY, MOUNT, POLLED, PORT, READY, SOCKET, XDS
from podium.router.reach import Reach
from podium.router.said import Said
from podium.router.state import LINGER_SECONDS, State, pods_of
from podium.router.watching import Refused, Server, Watching
from podium.router.xds import render

log = logging.getLogger(__name__)

CONFIG_MAPS: Final = "podium.dev/router=routing"
SLICES: Final = "app.kubernetes.io/managed-by=podium"
RETRY_SECONDS: Final = 1.0
UNHEARD: Final = "its agent has not heard from the API server since it started"
MOST_CALLERS: Final = 32
CALLER_SECONDS: Final = 5.0
"""Of /applied: each has a thread, and anybody in the cluster may connect."""


class Agent:
    """One router: what is wanted there, and what is loaded."""

    def __init__(
        self, server: Server, namespace: str, files: Files, folder: Path, address: str, *, lives: bool
    ) -> None:
        """`lives`: Envoy runs beside it."""
        self._lives = lives
        self._news = threading.Event()
        base, discovery = f"/api/v1/namespaces/{namespace}", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}"
        self.config_maps = Watching(server, f"{base}/configmaps", CONFIG_MAPS, self._news.set)
        self.slices = Watching(server, f"{discovery}/endpointslices", SLICES, self._news.set)
        self._state = State.remembered(_read(folder.parent / KNOWN), time.monotonic)
        self._files = files
        self._folder = folder
        self._address = address
        self._ready = lives and files.listens(READY)
        # An Envoy that is Ready goes on with what the agent before this one gave it: its requests still go there.
        self._applied = self._state.texts() if self._ready else {}
        self._refused: dict[str, str] = {}
        self._problem = UNHEARD
        self._reach = Reach()

    def once(self) -> None:
        """Put down what is wanted now. OSError and others where the API server cannot be had."""
        self.config_maps.list()
        self.slices.list()
        self.put()

    def put(self) -> None:
        """One step: from what was seen last to what Envoy has. NotLoaded, OSError: to be tried again.

        Listeners open each for itself: that of readiness only after all others are known to be open.
        """
        known = self._state.foreign
        self._state.take(self.config_maps.objects())
        for name in sorted(self._state.foreign - known):
            log.warning("ConfigMap %s is ignored: no ModelDeployment of its name controls it", name)
        self._refused = dict(self._state.refused)
        wanted = self._state.wanted()
        pods = pods_of(wanted, self.slices.objects())
        self._reach.want((share.revision for each in wanted for share in each.split), pods)
        self._files.put(render(wanted, pods, address=self._address, ready=self._ready))
        texts = self._state.texts()
        _write(self._folder.parent / KNOWN, texts)  # before it is said: an agent that is started anew says the same
        self._applied = texts
        if self._lives and not self._ready:
            if missing := self._state.missing():
                raise NotLoaded(f"not ready: {missing[0]}")
            self._files.put(render(wanted, pods, address=self._address, ready=True))
            self._ready = True
        self._problem = ""

    def next_look(self) -> float | None:
        """In how many seconds something goes that is no longer wanted; None: there is nothing."""
        return min(
            (each for each in (self._files.next_look(), self._state.next_look()) if each is not None), default=None
        )

    def run(self) -> None:
        """Until the process ends: after each change, and while something is not loaded every second."""
        for each in (self.config_maps, self.slices, self._reach):
            threading.Thread(target=each.run, daemon=True).start()
        self.config_maps.listed.wait()
        self.slices.listed.wait()
        self._news.set()
        wait: float | None = None
        while True:
            self._news.wait(wait)
            self._news.clear()
            try:
                self.put()
                wait = self.next_look()
            except (NotLoaded, OSError) as error:
                if str(error) != self._problem:
                    log.warning("%s; trying again", error)
                self._problem, wait = str(error), RETRY_SECONDS
            except Exception as error:
                # Its end would take a pod out of service whose Envoy serves.
                self._problem, wait = f"the agent failed: {error!r}", RETRY_SECONDS
                log.exception("trying again")

    def said(self) -> Said:
        """For the operator: by ConfigMap the text that is loaded, and why another one is not."""
        return Said(self._applied, self._refused, self._reach.reached, self._reach.unreached, self._problem)


def _read(file: Path) -> dict[str, str]:
    try:
        found = json.loads(file.read_text())
        return {str(name): str(text) for name, text in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _write(file: Path, texts: dict[str, str]) -> None:
    if _read(file) == texts:
        return
    draft = file.with_name(f".{file.name}")
    draft.write_text(json.dumps(texts))
    os.replace(draft, file)


def serve(
    agent: Agent, address: str, port: int, *, most: int = MOST_CALLERS, seconds: float = CALLER_SECONDS
) -> ThreadingHTTPServer:
    """Answers /applied, in a thread of its own. `most` callers at a time, and none that is silent for `seconds`."""
    free = threading.BoundedSemaphore(most)

    class Handler(BaseHTTPRequestHandler):
        timeout = seconds

        def do_GET(self) -> None:
            if self.path != "/applied":
                self.send_error(404)
                return
            body = json.dumps(agent.said().to_json()).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        daemon_threads = True
        allow_reuse_port = True  # also while another process still listens at an address of this host

        def process_request(self, request: Any, client_address: Any) -> None:
            free.acquire()  # the next ones wait to be accepted
            try:
                super().process_request(request, client_address)
            except BaseException:
                free.release()
                raise

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            try:
                super().process_request_thread(request, client_address)
            finally:
                free.release()

        def server_bind(self) -> None:
            if self.address_family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            socketserver.TCPServer.server_bind(self)  # HTTPServer's asks DNS for the name of the address

    server = Listener((address, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m podium.router.agent", description=__doc__)
    parser.add_argument("--once", action="store_true", help="put down the bootstrap and what is wanted now, and end")
    parser.add_argument("--leave", type=float, metavar="SECONDS", help="drain Envoy, wait so long at most, and end")
    parser.add_argument("--folder", type=Path, default=Path(FOLDER), help="shared with Envoy")
    parser.add_argument("--namespace", default=os.environ.get("POD_NAMESPACE", ""), help="default: POD_NAMESPACE")
    parser.add_argument("--address", default=any_address(), help="where listeners bind")
    parser.add_argument("--mount", type=Path, default=Path(MOUNT), help="the ServiceAccount's token and certificate")
    parser.add_argument(
        "--memory",
        type=int,
        default=os.environ.get(MEMORY, "0"),
        metavar="BYTES",
        help=f"the limit of Envoy's container, 0 for none; default: {MEMORY}",
    )
    asked = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    folder = asked.folder / XDS
    discovery = Discovery(folder)
    admin = Admin(asked.folder / SOCKET)
    if asked.leave is not None:
        leave(admin, most=asked.leave)
        return 0
    allow_open_files()
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(folder, None if asked.once else admin.loaded, linger=LINGER_SECONDS, discovery=discovery)
    agent = Agent(Server.in_pod(asked.mount), asked.namespace, files, folder, asked.address, lives=not asked.once)
    if asked.once:
        start = bootstrap(asked.folder, address=asked.address, node=node(), memory=asked.memory)
        return prepare(agent, asked.folder / BOOTSTRAP, start)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=outlast, args=(admin,), daemon=True).start())
    discovery.serve(asked.folder / POLLED)
    serve(agent, asked.address, PORT)
    agent.run()
    return 0


def prepare(agent: Agent, file: Path, start: Mapping[str, Any]) -> int:
    """All that Envoy is started with. A pod that is set up anew has it from before, if the API server cannot be had."""
    known = file.exists()
    try:
        agent.once()
    except (OSError, http.client.HTTPException, ValueError, KeyError, Refused) as error:
        log.error("nothing can be read from the API server: %s", error)
        if not known:
            return 1
        log.warning("going on with what was put down before")
    file.write_text(json.dumps(start))
    return 0


def allow_open_files() -> None:
    """As many as the container may have: each route table and each cluster is polled over a connection of its own.

    A container's process begins with 1,024 as a rule, and without one that is free no file can be written either.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def node() -> str:
    """Names this router to itself."""
    return os.environ.get("HOSTNAME", "router")


def any_address() -> str:
    """All addresses of both families; of IPv4 alone on a node that has no other."""
    return "::" if Path("/proc/net/if_inet6").exists() else "0.0.0.0"


if __name__ == "__main__":
    sys.exit(main())
