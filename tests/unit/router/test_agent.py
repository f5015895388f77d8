"""What the agent tells whoever asks it, also when it is started anew, and how many may ask."""

import http.client
import io
import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from podium.manifests.owner import Owner, owner_reference
from podium.router.agent import UNHEARD, Agent, main, serve
from podium.router.files import Files
from podium.router.places import KNOWN, XDS
from podium.router.routing import Routing, Share
from podium.router.said import Said
from podium.router.state import KEY, LINGER_SECONDS
from podium.router.watching import Server

SAID = Said(applied={"fraud-router": "{}"})
MOST = 4
TOLD = "fraud-router"
TEXT = Routing("fraud", 20_000, (Share("fraud-b57wq4c9d2", 10_000),)).to_json()
Begin = Callable[[float], int]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Begins an agent's server, whose callers may be silent for so many seconds; answers its port."""
    with ExitStack() as stack:

        def begin(seconds: float) -> int:
            agent = cast(Agent, SimpleNamespace(said=lambda: SAID))
            server = serve(agent, "127.0.0.1", 0, most=MOST, seconds=seconds)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return int(server.server_address[1])

        yield begin


def ask(port: int) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/applied")
        return json.load(connection.getresponse())
    finally:
        connection.close()


def callers() -> int:
    """Who is answered now, each in a thread."""
    return sum("process_request_thread" in each.name for each in threading.enumerate())


def test_it_says_what_is_loaded_time_and_again(begin: Begin) -> None:
    port = begin(60)
    for _ in range(2 * MOST):
        assert ask(port) == SAID.to_json()


def test_who_says_nothing_is_sent_away_and_keeps_nobody_from_asking(begin: Begin) -> None:
    port = begin(0.2)
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)) for _ in range(MOST)]

        assert ask(port) == SAID.to_json()
        assert idle[0].recv(1) == b""


def test_no_more_than_so_many_are_answered_at_a_time(begin: Begin) -> None:
    port = begin(60)
    with ExitStack() as stack:
        for _ in range(MOST + 3):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        end = time.monotonic() + 30
        while callers() < MOST:
            assert time.monotonic() < end, "nobody is answered"
            time.sleep(0.01)
        # Whoever would be one too many would have its thread at once.
        time.sleep(0.2)
        assert callers() == MOST
    assert ask(port) == SAID.to_json()


@pytest.mark.parametrize(
    ("cluster", "routing", "first"), [(None, None, None), (7.0, None, 7.0), (None, 0.0, 0.0), (7.0, 3.0, 3.0)]
)
def test_it_looks_again_when_the_first_of_what_lingers_may_go(
    cluster: float | None, routing: float | None, first: float | None
) -> None:
    parts = {"_files": cluster, "_state": routing}
    agent = SimpleNamespace(**{name: SimpleNamespace(next_look=lambda at=at: at) for name, at in parts.items()})
    assert Agent.next_look(cast(Agent, agent)) == first


class ApiServer:
    """Has one ConfigMap of the routers, and no pods. OSError while it is `down`."""

    def __init__(self) -> None:
        self.down = False

    def get(self, path: str, query: object, *, seconds: float) -> io.BytesIO:
        if self.down:
            raise OSError("connection refused")
        metadata = {"name": TOLD, "ownerReferences": [owner_reference(Owner("fraud", "ml", "1"))]}
        found = [{"metadata": metadata, "data": {KEY: TEXT}}] if path.endswith("/configmaps") else []
        return io.BytesIO(json.dumps({"metadata": {"resourceVersion": "1"}, "items": found}).encode())


def agent_in(folder: Path, server: ApiServer, *, lives: bool = True) -> Agent:
    """The agent of the router with this folder; beside an Envoy that loads whatever stands there if `lives`."""
    xds = folder / XDS
    xds.mkdir(exist_ok=True)

    def loaded() -> dict[str, str]:
        return {each.stem: json.loads(each.read_text())["version_info"] for each in xds.glob("[a-z]*.json")}

    files = Files(xds, loaded if lives else None, linger=LINGER_SECONDS)
    return Agent(cast(Server, server), "ml", files, xds, "::", lives=lives)


def test_an_agent_that_is_started_anew_says_what_its_Ready_Envoy_goes_on_with(tmp_path: Path) -> None:
    server = ApiServer()
    agent_in(tmp_path, server).once()

    server.down = True
    anew = agent_in(tmp_path, server)

    assert anew.said().applied == {TOLD: TEXT}
    assert anew.said().problem == UNHEARD
    with pytest.raises(OSError, match="connection refused"):
        anew.once()
    assert anew.said().applied == {TOLD: TEXT}


def test_an_agent_whose_Envoy_has_never_been_Ready_says_that_nothing_is_loaded(tmp_path: Path) -> None:
    """What is wanted stands there before Envoy starts: it may never do so."""
    server = ApiServer()
    agent_in(tmp_path, server, lives=False).once()
    assert TOLD in json.loads((tmp_path / KNOWN).read_text())

    assert agent_in(tmp_path, server).said().applied == {}


def test_what_is_said_to_be_loaded_is_remembered_first(tmp_path: Path) -> None:
    agent = agent_in(tmp_path, ApiServer())
    (tmp_path / f".{KNOWN}").mkdir()  # nothing can be written there

    with pytest.raises(OSError, match=KNOWN):
        agent.once()
    assert agent.said().applied == {}


@pytest.fixture
def few_files() -> Iterator[int]:
    """At first this process may open 512 files; answers how many it may allow itself."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, most))
    yield most
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


def test_it_allows_itself_as_many_open_files_as_it_may_have(
    few_files: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(KeyError):  # it is in no pod
        main([f"--folder={tmp_path}"])
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (few_files, few_files)
