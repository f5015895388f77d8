"""Puts a configuration down as files, in the order in which no request meets a name that Envoy does not know.

Endpoints, clusters, routes, listeners; what is no longer wanted goes the other way round, and a cluster only when
nothing can be on its way through it any more. Between the steps Envoy is asked whether it has loaded the last one.
"""

import json
import os
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from podium.router.admin import Unreachable
from podium.router.discovery import Discovery
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
    """The configuration's folder, which Envoy watches or polls."""

    def __init__(
        self,
        folder: Path,
        loaded: Callable[[], Mapping[str, str]] | None,
        *,
        linger: float,
        discovery: Discovery | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`loaded` asks Envoy; None while there is none yet. `linger`: seconds that an unused cluster stays.

        `discovery`: whom Envoy polls for files that it does not watch.
        """
        self._folder = folder
        self._loaded = loaded
        self._discovery = discovery
        self._linger = linger
        self._clock = clock
        self._written: dict[str, str] = {}
        self._has: Versions = {}
        """What Envoy had when it was asked last."""
        self._unused: dict[str, tuple[float, Document]] = {}
        self._clusters: dict[str, Document] = {}

    def put(self, config: Config) -> None:
        """Make Envoy have this configuration. NotLoaded, OSError: some of it is not there; the same call goes on.

        Before its last step Envoy is asked only about what it was not yet seen to have: a change of weights, which may
        be a rollback, is put down at once.
        """
        clusters = self._with_lingering(config.clusters)
        endpoints = {
            endpoints_file(name): (f"endpoints.{name}", ENDPOINT, [each]) for name, each in config.endpoints.items()
        }
        routes = {routes_file(name): (f"routes.{name}", ROUTE, [each]) for name, each in config.routes.items()}
        has_endpoints = self._put_down(endpoints)
        has_clusters = self._put_down({CLUSTERS: ("clusters", CLUSTER, list(clusters.values()))})
        self._confirm(has_clusters)
        self._confirm(has_endpoints)
        has_routes = self._put_down(routes)
        self._confirm(_listened_to(has_routes, self._names(LISTENERS)))
        has_listeners = self._put_down({LISTENERS: ("listeners", LISTENER, list(config.listeners.values()))})
        has_routes = _listened_to(has_routes, config.listeners)
        self._confirm(has_endpoints | has_clusters | has_routes | has_listeners, anew=True)
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

    def _put_down(self, files: Mapping[str, tuple[str, str, list[Document]]]) -> Versions:
        """Write what has changed; what Envoy has once it has read it."""
        expected: Versions = {}
        for file, (name, kind, resources) in files.items():
            document = discovery(kind, resources)
            self._write(file, json.dumps(document, sort_keys=True, indent=1))
            expected[name] = document["version_info"]
        return expected

    def _write(self, file: str, text: str) -> None:
        """Atomically: Envoy reads the whole of the old one or the whole of the new one."""
        if self._written.get(file) == text:
            return
        draft = self._folder / f".{file}"
        draft.write_text(text)
        os.replace(draft, self._folder / file)
        self._written[file] = text
        if self._discovery is not None:
            self._discovery.changed(file)

    def _names(self, file: str) -> set[str]:
        return {each["name"] for each in json.loads(self._written.get(file, '{"resources": []}'))["resources"]}

    def _confirm(self, expected: Versions, *, anew: bool = False) -> None:
        """Wait until Envoy has these. It is asked in any case if `anew`: it may have been started again."""
        if self._loaded is None or (not anew and expected.items() <= self._has.items()):
            return
        deadline = self._clock() + CONFIRM_SECONDS
        while True:
            try:
                self._has = dict(self._loaded())
            except Unreachable:
                self._has = {}
            missing = sorted(name for name, version in expected.items() if self._has.get(name) != version)
            if not missing:
                return
            if self._clock() > deadline:
                raise NotLoaded(f"Envoy has not loaded {', '.join(missing[:5])} within {CONFIRM_SECONDS:g} s")
            time.sleep(POLL_SECONDS)

    def _clear(self, wanted: set[str]) -> None:
        for file in set(self._written) - wanted:
            (self._folder / file).unlink(missing_ok=True)
            del self._written[file]


def _listened_to(routes: Versions, listeners: Collection[str]) -> Versions:
    """Those of listeners that Envoy has: it does not say what it knows of the others' routes."""
    return {name: version for name, version in routes.items() if name.removeprefix("routes.") in listeners}
