"""Lists and watches one kind of object in the router's namespace, for as long as the process lives.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes. Only what a pod is given
is used: the token (read anew for each request, since the kubelet rotates it), the certificate, the address.
"""

import http.client
import json
import logging
import os
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

log = logging.getLogger(__name__)

WATCH_SECONDS: Final = 300
"""Then the API server ends the watch, and a new one goes on from there."""
LIST_SECONDS: Final = 30.0
"""For the next piece of a list."""
SILENT_SECONDS: Final = 90.0
"""Without a line from a watch, its connection counts as broken: bookmarks come about once a minute."""
PAUSE_SECONDS: Final = (0.5, 30.0)
"""Between attempts while nothing is heard: the first pause, doubled up to the second. After a watch, the first."""

Object = Mapping[str, Any]


class Refused(Exception):
    """The API server answered with another status than 200."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:300]}")
        self.status = status


@dataclass(frozen=True)
class Server:
    """The API server as a pod finds it."""

    host: str
    port: int
    context: ssl.SSLContext
    token: Path

    @classmethod
    def in_pod(cls, mount: Path) -> Self:
        """From the environment and the mounted ServiceAccount; OSError, KeyError outside of a pod."""
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
        context = ssl.create_default_context(cafile=str(mount / "ca.crt"))
        # From Python 3.13 on certificates without key identifiers are refused by default; some clusters' have none.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return cls(host, port, context, mount / "token")

    def get(self, path: str, query: Mapping[str, str], *, seconds: float) -> http.client.HTTPResponse:
        """An answer to be read and closed, which ends its connection. Refused, OSError, HTTPException."""
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=seconds, context=self.context)
        token = self.token.read_text().strip()
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}", "Connection": "close"}
        connection.request("GET", f"{path}?{urllib.parse.urlencode(query)}", headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise Refused(answer.status, answer.read(2000).decode(errors="replace"))
        return answer


class Watching:
    """The objects of one kind that match a selector, by name; `changed` is called after each change."""

    def __init__(
        self, server: Server, path: str, selector: str, changed: Callable[[], None], *, silent: float = SILENT_SECONDS
    ) -> None:
        """`silent`: seconds without a line after which a watch is begun anew."""
        self._silent = silent
        self._server = server
        self._path = path
        self._selector = selector
        self._changed = changed
        self._objects: dict[str, Object] = {}
        self._version = ""
        self._pause = PAUSE_SECONDS[0]
        self._lock = threading.Lock()
        self.listed = threading.Event()
        """Set after the first list."""

    def objects(self) -> list[Object]:
        """All of them now."""
        with self._lock:
            return list(self._objects.values())

    def list(self) -> None:
        """Take in what there is. A list in which something is missing counts once a second one says the same.

        It may come from an API server that has fallen behind, and what it lacks may be what serves.
        """
        found, version = self._listed()
        if self._objects.keys() - found.keys():
            found, version = self._listed()
        with self._lock:
            self._objects, self._version = found, version
        self.listed.set()
        self._changed()

    def run(self) -> None:
        """Until the process ends."""
        while True:
            try:
                if not self._version:
                    self.list()
                self._watch()
                self._pause = PAUSE_SECONDS[0]
                time.sleep(self._pause)  # it may end at once, time and again
            except Exception as error:
                # Also for what nobody foresaw: without this thread, a router that looks well would hear of nothing.
                # What was loaded last serves on, for as long as this takes.
                ordinary = isinstance(error, Refused) and error.status == 410
                level = logging.INFO if ordinary else logging.WARNING
                log.log(level, "%s cannot be watched, trying again in %.1f s: %r", self._path, self._pause, error)
                time.sleep(self._pause)
                self._pause = min(PAUSE_SECONDS[1], self._pause * 2)
                self._version = ""

    def _listed(self) -> tuple[dict[str, Object], str]:
        with self._server.get(self._path, {"labelSelector": self._selector}, seconds=LIST_SECONDS) as answer:
            found = json.load(answer)
        return {each["metadata"]["name"]: each for each in found["items"]}, found["metadata"]["resourceVersion"]

    def _watch(self) -> None:
        query = {
            "labelSelector": self._selector,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        with self._server.get(self._path, query, seconds=self._silent) as answer:
            for event in _lines(answer):
                kind, obj = event["type"], event["object"]
                if kind == "ERROR":
                    raise Refused(int(obj.get("code") or 500), str(obj.get("message")))
                self._version = obj["metadata"]["resourceVersion"]
                self._pause = PAUSE_SECONDS[0]
                if kind == "BOOKMARK":
                    continue
                with self._lock:
                    if kind == "DELETED":
                        self._objects.pop(obj["metadata"]["name"], None)
                    else:
                        self._objects[obj["metadata"]["name"]] = obj
                self._changed()


def _lines(answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    while line := answer.readline():
        if line.strip():
            yield json.loads(line)
