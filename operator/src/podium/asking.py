"""Asks the routers what they have loaded, and keeps their answers: a view beside the cache, which no API call fills.

Each router pod is asked by its address: quickly while it has not confirmed what it was told, slowly otherwise. News
wake the ModelDeployments that they concern. Only the leader asks; whoever has just become it knows nothing before.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp

from podium.api import names
from podium.keys import Key
from podium.kube.client import Object
from podium.kube.pods import address_of, is_ready
from podium.kube.resources import CONFIG_MAPS, MODEL_DEPLOYMENTS, PODS, Resource
from podium.manifests.routing import read_routing, told_in
from podium.router.places import PORT
from podium.router.said import Said
from podium.texts import read_json

log = logging.getLogger(__name__)

TICK: Final = 0.1
"""Seconds between two looks at who is due."""
IDLE_TICK: Final = 1.0
"""Seconds between two looks where no namespace has a router: ten times a second would be a third of what an idle
process costs, and the first router pod takes longer to start."""
QUICK, SLOW = 0.2, 10.0
"""Seconds from one answer to the next question: while something is not confirmed, and otherwise."""
PATIENT: Final = 30.0
"""Seconds after which what is not confirmed is asked for once a second: a network policy does not go away at once."""
LONGEST_PAUSE: Final = 10.0
WITHIN: Final = 2.0
"""Seconds for an answer."""
FORGIVEN: Final = 1
"""Questions in a row that may stay without an answer before what a pod said last no longer counts."""
AT_ONCE: Final = 64
LARGEST: Final = 2**23
"""Bytes of an answer: 1,000 ModelDeployments take some 400 KB."""


class Cache(Protocol):
    """What is read here."""

    def all(self, resource: Resource) -> list[Object]:
        """Every object of a kind."""
        ...

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        """All objects of a kind that are found by a name."""
        ...

    def changes(self, resource: Resource) -> int:
        """Another number once an object of a kind has changed."""
        ...


class Queue(Protocol):
    """The work queue: takes the key of each ModelDeployment that there is news of."""

    def add(self, key: Key) -> None:
        """Its pass is due."""
        ...


@dataclass(slots=True)
class _Pod:
    """One router pod: what it said, and when it is asked again."""

    namespace: str
    address: str
    said: Said | None = None
    due: float = 0.0
    failures: int = 0
    behind_since: float | None = None
    """Since when it has not confirmed all that it was told."""
    asked_for: tuple[str, ...] = ()
    """Versions of what it was told when it was asked last: another one is asked for at once."""


class Asker:
    """Keeps what routers say; `run` for as long as the process lives."""

    def __init__(self, cache: Cache, queue: Queue, leading: Callable[[], bool], *, port: int = PORT) -> None:
        self._cache = cache
        self._queue = queue
        self._leading = leading
        self._port = port
        self._pods: dict[tuple[str, str], _Pod] = {}
        self._told: dict[str, tuple[str, ...]] = {}
        self._seen: tuple[int, int] | None = None
        """Changes of ConfigMaps and pods in the cache when it was looked at last."""
        self._asking: set[asyncio.Task[None]] = set()
        self._busy: set[tuple[str, str]] = set()

    def said(self, namespace: str, pod: str) -> Said | None:
        """What a router pod said last; None for one that has not answered, or no longer does."""
        known = self._pods.get((namespace, pod))
        return known.said if known else None

    async def once(self) -> None:
        """Return when everybody has been asked, or after WITHIN: a new leader begins with what the routers say."""
        loop = asyncio.get_running_loop()
        end = loop.time() + WITHIN
        while loop.time() < end:
            self._take_in(loop.time())
            if all(known.said or known.failures for known in self._pods.values()):
                return
            await asyncio.sleep(TICK / 4)

    async def run(self) -> None:
        """Ask, for as long as this replica leads."""
        connector = aiohttp.TCPConnector(limit=AT_ONCE, keepalive_timeout=30.0)
        try:
            async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
                while True:
                    if self._leading():
                        self.look(session)
                    else:
                        self._pods.clear()
                        self._seen = None
                    await asyncio.sleep(TICK if self._pods else IDLE_TICK)
        finally:
            for task in self._asking:
                task.cancel()

    def look(self, session: aiohttp.ClientSession) -> None:
        """Begin to ask everybody who is due."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._take_in(now)
        for place, known in self._pods.items():
            versions = self._told[known.namespace]
            if known.asked_for is not versions:
                known.due = min(known.due, now)
                known.behind_since = None
            if known.due <= now and place not in self._busy and len(self._asking) < AT_ONCE:
                known.asked_for = versions
                self._busy.add(place)
                task = loop.create_task(self._ask(session, place, known))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)

    def _take_in(self, now: float) -> None:
        """Who is there, and what they are told: read from the cache only when that has changed, for it may be long."""
        seen = self._cache.changes(CONFIG_MAPS), self._cache.changes(PODS)
        if seen == self._seen:
            return
        if self._seen is None or seen[0] != self._seen[0]:
            self._told = self._versions()
        self._seen = seen
        present = dict(self._present())
        for place in self._pods.keys() - present.keys():
            del self._pods[place]
        for place, address in present.items():
            known = self._pods.get(place)
            if known is None or known.address != address:
                self._pods[place] = _Pod(place[0], address)

    async def _ask(self, session: aiohttp.ClientSession, place: tuple[str, str], pod: _Pod) -> None:
        loop = asyncio.get_running_loop()
        try:
            said = await self._answer(session, pod.address)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            pod.failures += 1
            pod.due = loop.time() + min(QUICK * 2 ** min(pod.failures, 10), LONGEST_PAUSE)
            log.debug("router pod %s/%s does not answer: %s", *place, error)
            if pod.failures > FORGIVEN and pod.said is not None:
                log.warning("router pod %s/%s does not answer any more: %s", *place, error)
                self._news(pod, None)
            return
        finally:
            self._busy.discard(place)
        pod.failures = 0
        self._news(pod, said)
        pod.due = loop.time() + self._pause(pod, loop.time())

    async def _answer(self, session: aiohttp.ClientSession, address: str) -> Said:
        host = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
        timeout = aiohttp.ClientTimeout(total=WITHIN)
        async with session.get(f"http://{host}:{self._port}/applied", timeout=timeout) as answer:
            if answer.status != 200:
                raise ValueError(f"it answered {answer.status}")
            text = await answer.content.read(LARGEST)
            while not answer.content.at_eof() and len(text) < LARGEST:
                text += await answer.content.read(LARGEST)
            return Said.read(read_json(text))

    def _pause(self, pod: _Pod, now: float) -> float:
        """Until the next question."""
        if self._confirmed(pod):
            pod.behind_since = None
            return SLOW
        pod.behind_since = now if pod.behind_since is None else pod.behind_since
        return QUICK if now - pod.behind_since < PATIENT else 1.0

    def _confirmed(self, pod: _Pod) -> bool:
        """Whether it has loaded all that it is told, and reaches everybody who gets requests by that."""
        said = pod.said
        if said is None or said.problem:
            return False
        for each in self._cache.owned(CONFIG_MAPS, pod.namespace, names.ROUTER):
            text = told_in(each)
            if not text:
                continue  # it is not Podium's, and tells nobody anything
            if said.applied.get(each["metadata"]["name"]) != text:
                return False
            told = read_routing(text)
            weighed = [share.revision for share in told.split if share.weight] if told else []
            if told and any(self._misses(pod.namespace, told.model, each, said) for each in weighed):
                return False
        return True

    def _misses(self, namespace: str, model: str, revision: str, said: Said) -> bool:
        """Whether it does not reach a revision of which a pod is ready: of one without, there is nobody to reach."""
        return revision not in said.reached and any(
            is_ready(each) and (each["metadata"].get("labels") or {}).get(names.LABEL_REVISION) == revision
            for each in self._cache.owned(PODS, namespace, model)
        )

    def _news(self, pod: _Pod, said: Said | None) -> None:
        """Take an answer in, and wake those that it says something new of."""
        before, pod.said = pod.said, said
        if said == before:
            return
        for each in self._cache.owned(CONFIG_MAPS, pod.namespace, names.ROUTER):
            name = each["metadata"]["name"]
            model = str((each["metadata"].get("labels") or {}).get(names.LABEL_MODEL, ""))
            if before is None or said is None or _of(before, name, model) != _of(said, name, model):
                self._queue.add(MODEL_DEPLOYMENTS.key(pod.namespace, model))

    def _versions(self) -> dict[str, tuple[str, ...]]:
        """By namespace the versions of all that its routers are told: the same tuple as long as it would be equal."""
        found: dict[str, list[str]] = {}
        for each in self._cache.all(CONFIG_MAPS):
            meta = each["metadata"]
            if (meta.get("labels") or {}).get(names.LABEL_ROUTER) == names.LEDGER:
                continue  # it tells routers nothing
            found.setdefault(meta["namespace"], []).append(f"{meta['name']}/{meta.get('resourceVersion')}")
        made = {namespace: tuple(sorted(versions)) for namespace, versions in found.items()}
        return {
            namespace: each if each != (old := self._told.get(namespace)) else old for namespace, each in made.items()
        }

    def _present(self) -> Iterator[tuple[tuple[str, str], str]]:
        for namespace in self._told:
            for pod in self._cache.owned(PODS, namespace, names.ROUTER):
                at = address_of(pod)
                if at is not None:
                    yield (namespace, pod["metadata"]["name"]), at


def _of(said: Said, name: str, model: str) -> tuple[object, ...]:
    """What of an answer concerns one ModelDeployment."""
    own = f"{model}-"
    reached = frozenset(each for each in said.reached if each.startswith(own))
    unreached = {each: why for each, why in said.unreached.items() if each.startswith(own)}
    return said.applied.get(name), said.refused.get(name), reached, unreached, said.problem
