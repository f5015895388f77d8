"""Puts a configuration down as files, in the order in which no request meets a name that Envoy does not know.

Endpoints, clusters, routes, listeners; what is no longer wanted goes the other way round, and a cluster only when
nothing can be on its way through it any more. Between the steps Envoy is asked whether it has loaded the last one.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from podium.router.admin import Unreachable
from podium.router.documents import Document
from podium.router.xds import CLUSTERS, LISTENERS, Config, discovery, endpoints_file, routes_file

ENDPOINT, CLUSTER, ROUTE, LISTENER = (
    "config.endpoint.v3.ClusterLoadAssignment",
    "config.cluster.v3.Cluster",
    "config.route.v3.RouteConfiguration",
    "config.listener.v3.Listener",
)
CONFIRM_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.01

Versions = dict[str, str]
"""By what `Admin.loaded` calls a resource."""


class NotLoaded(Exception):
    """Envoy has not taken a step within its time: the sentence names what it did not load."""


class Files:
    """The configuration's folder, which Envoy watches."""

    def __init__(
        self,
        folder: Path,
        loaded: Callable[[], Mapping[str, str]] | None,
        *,
        linger: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`loaded` asks Envoy; None while there is none yet. `linger`: seconds that an unused cluster stays."""
        self._folder = folder
        self._loaded = loaded
        self._linger = linger
        self._clock = clock
        self._written: dict[str, str] = {}
        self._unused: dict[str, tuple[float, Document]] = {}
        self._clusters: dict[str, Document] = {}

    def put(self, config: Config) -> None:
        """Make Envoy have this configuration. NotLoaded, OSError: some of it is not there; the same call goes on."""
        clusters = self._with_lingering(config.clusters)
        self._step({endpoints_file(name): (f"endpoints.{name}", ENDPOINT, [each]) for name, each in
                    config.endpoints.items()}, confirm=False)  # fmt: skip
        self._step({CLUSTERS: ("clusters", CLUSTER, list(clusters.values()))})
        self._confirm({f"endpoints.{name}": self._version(endpoints_file(name)) for name in config.endpoints})
        listening = self._names(LISTENERS)
        self._step({routes_file(name): (f"routes.{name}", ROUTE, [each]) for name, each in config.routes.items()},
                   confirm=False)  # fmt: skip
        self._confirm(
            {f"routes.{name}": self._version(routes_file(name)) for name in config.routes if name in listening}
        )
        self._step({LISTENERS: ("listeners", LISTENER, list(config.listeners.values()))})
        self._confirm({f"routes.{name}": self._version(routes_file(name)) for name in config.routes})
        self._clear({*map(endpoints_file, clusters), *map(routes_file, config.routes), CLUSTERS, LISTENERS})

    def _with_lingering(self, wanted: Mapping[str, Document]) -> dict[str, Document]:
        """What is wanted, and what was until a short while ago: a request may still be on its way through it."""
        now = self._clock()
        for name, cluster in self._clusters.items():
            if name not in wanted:
                self._unused.setdefault(name, (now, cluster))
        self._unused = {
            name: (since, cluster)
            for name, (since, cluster) in self._unused.items()
            if name not in wanted and now - since < self._linger
        }
        self._clusters = {**{name: cluster for name, (_, cluster) in self._unused.items()}, **wanted}
        return self._clusters

    def listens(self, name: str) -> bool:
        """Whether Envoy has, or at its next start will have, a listener of that name: from an earlier agent, too."""
        try:
            found = json.loads((self._folder / LISTENERS).read_text())["resources"]
            return any(each["name"] == name for each in found)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def next_look(self) -> float | None:
        """In how many seconds a lingering cluster may go; None: there is none."""
        now = self._clock()
        return min((max(0.0, since + self._linger - now) for since, _ in self._unused.values()), default=None)

    def _step(self, files: Mapping[str, tuple[str, str, list[Document]]], *, confirm: bool = True) -> None:
        expected: Versions = {}
        for file, (name, kind, resources) in files.items():
            document = discovery(kind, resources)
            self._write(file, json.dumps(document, sort_keys=True, indent=1))
            expected[name] = document["version_info"]
        if confirm:
            self._confirm(expected)

    def _write(self, file: str, text: str) -> None:
        """Atomically: Envoy reads the whole of the old one or the whole of the new one."""
        if self._written.get(file) == text:
            return
        draft = self._folder / f".{file}"
        draft.write_text(text)
        os.replace(draft, self._folder / file)
        self._written[file] = text

    def _version(self, file: str) -> str:
        return str(json.loads(self._written[file])["version_info"])

    def _names(self, file: str) -> set[str]:
        return {each["name"] for each in json.loads(self._written.get(file, '{"resources": []}'))["resources"]}

    def _confirm(self, expected: Versions) -> None:
        if self._loaded is None or not expected:
            return
        deadline = self._clock() + CONFIRM_SECONDS
        while True:
            try:
                loaded: Mapping[str, str] = self._loaded()
            except Unreachable:
                loaded = {}
            missing = sorted(name for name, version in expected.items() if loaded.get(name) != version)
            if not missing:
                return
            if self._clock() > deadline:
                raise NotLoaded(f"Envoy has not loaded {', '.join(missing[:5])} within {CONFIRM_SECONDS:g} s")
            time.sleep(POLL_SECONDS)

    def _clear(self, wanted: set[str]) -> None:
        for file in set(self._written) - wanted:
            (self._folder / file).unlink(missing_ok=True)
            del self._written[file]
