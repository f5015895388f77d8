"""Gives Envoy what it polls for, over a Unix socket: the routes of each ModelDeployment, and each cluster's endpoints.

REST-JSON as https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#rest-endpoints has it. A poll names the
version that Envoy has; its answer waits until there is another one, so that a change arrives at once and nothing is
asked again and again. docs/decisions/envoy-polls-its-agent.md says why these are not files, as listeners are.
"""

import asyncio
import json
import socket
import threading
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Final

HOLD_SECONDS: Final = 120.0
"""For which a poll waits for news; then it is answered that there are none."""
LONGEST: Final = 1 << 20
"""Bytes of a poll: the names of Envoy's extensions are in it."""


def polled_file(kind: str, resource: str) -> str:
    """The file with the DiscoveryResponse of one resource; `kind` as it stands in the address of a poll."""
    return f"{kind}.{resource}.json"


class Discovery:
    """Answers with the files of a folder: also those of an agent before this one, while it knows of nothing itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._news: dict[str, asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def changed(self, file: str) -> None:
        """There is a new version. For any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._tell, file)

    def serve(self, path: Path) -> None:
        """In a thread of its own, until the process ends; Envoy can connect at once.

        Raises OSError if the socket cannot be made.
        """
        path.unlink(missing_ok=True)  # of an agent before this one
        listening = socket.socket(socket.AF_UNIX)
        try:
            listening.bind(str(path))
            path.chmod(0o600)
            listening.listen()
        except OSError:
            listening.close()
            raise
        threading.Thread(target=lambda: asyncio.run(self._run(listening)), daemon=True).start()

    async def _run(self, listening: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_unix_server(self._talk, sock=listening, limit=LONGEST)
        await server.serve_forever()

    def _tell(self, file: str) -> None:
        if event := self._news.pop(file, None):
            event.set()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; Envoy has one for each poll that waits."""
        try:
            while True:
                text = await self._news_of(*await _poll(reader))
                status = "304 Not Modified" if text is None else "200 OK"
                body = (text or "").encode()
                writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError, KeyError, TypeError):
            pass  # Envoy has left, or it is not Envoy
        finally:
            writer.close()

    async def _news_of(self, file: str, has: str) -> str | None:
        """What is asked for, once it is known and not what Envoy has; None: there is no news of it."""
        try:
            async with asyncio.timeout(HOLD_SECONDS):
                while True:
                    news = self._news.setdefault(file, asyncio.Event())
                    with suppress(FileNotFoundError):
                        text = (self._folder / file).read_text()
                        if json.loads(text)["version_info"] != has:
                            return text
                    await news.wait()
        except TimeoutError:
            return None


async def _poll(reader: asyncio.StreamReader) -> tuple[str, str]:
    """The file that is asked for, and the version that Envoy has.

    Nothing else is kept while the poll waits: all of Envoy's extensions are listed in it.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length:")[2].split("\r\n", 1)[0])
    asked = json.loads(await reader.readexactly(length))
    kind = head.partition("/v3/discovery:")[2].split(" ", 1)[0]
    (resource,) = asked["resource_names"]
    return PurePath(polled_file(kind, resource)).name, asked.get("version_info", "")
