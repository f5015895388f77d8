"""An API server that refuses writes of one namespace: each chosen one once, or, for a while, every one like it.

Many scenarios share one operator, which watches the whole cluster and looks after what carries its label: an operator
for each would cost more than what is tested.
"""

import asyncio
import os
import random
import subprocess
from dataclasses import dataclass
from typing import Final, Self

from podium.api import names
from tests.integration.operator import ROOT
from tests.integration.proxy import Call, Fault, Match, Proxy, writes
from tests.integration.rollouts.api import MODEL_DEPLOYMENT, Object, path_of
from tests.integration.rollouts.nursery import Nursery, Nursling
from tests.integration.rollouts.stage import MODEL, SHORT, Cluster, Stage
from tests.invariants.reading import champion_of

LABEL: Final = "podium-test/refused"
APART: Final = 3
"""One run is refused every third of its writes; three runs that begin one later each are refused all."""
LASTS: Final = 2.0
"""Seconds after which a lasting refusal ends although the write was not tried again."""
WORKERS: Final = 64
"""Of the operator: a write that hangs holds one of them for 13 s."""
SHARED_PATIENCE: Final = 240.0
"""Seconds that a scenario may take: 13 for a write that hangs, and many are played at once."""
RIGHTS: Final = 'x is forbidden: User "system:serviceaccount:podium" cannot patch resource "x" in the namespace'
POLICY: Final = 'admission webhook "policy" denied the request: not that image'
WEBHOOK: Final = "Internal error occurred: failed calling webhook: no endpoints available"
FAULTS: Final = {
    "no-right": Fault(writes, status=403, message=RIGHTS),
    "a-policy": Fault(writes, status=403, message=POLICY),
    "not-found": Fault(lambda call: writes(call) and call.method != "DELETE", status=404),  # else it is no refusal
    "conflict": Fault(writes, status=409),
    "invalid": Fault(writes, status=422),
    "too-many-requests": Fault(writes, status=429, retry_after=1),
    "webhook": Fault(writes, status=500, message=WEBHOOK),
    "time-out": Fault(writes, status=504, delay=30, delays=1),
}
"""Answers by name. A run's first time-out is the operator's own: it gives up long before the answer comes."""

OTHERS: Final = ("not-found", "conflict", "invalid", "too-many-requests", "webhook", "time-out")
"""What is answered but 403."""


def seed() -> str:
    """What the choices depend on: PODIUM_REFUSALS_SEED, else the commit, where there is one."""
    if given := os.environ.get("PODIUM_REFUSALS_SEED"):
        return given
    try:
        return subprocess.check_output(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return "no-commit"


@dataclass(frozen=True)
class Chosen:
    """One run: how every third write is answered, from the `first` on (1, 2 or 3)."""

    scenario: str
    way: str
    """403, or one of OTHERS."""
    fault: str
    """Of FAULTS."""
    lasting: bool
    first: int

    def __str__(self) -> str:
        return f"{self.scenario}: {self.fault} {'for a while' if self.lasting else 'once'} from write {self.first}"


def chosen(scenarios: tuple[str, ...], way: str, by: str, *, every: bool = False) -> list[Chosen]:
    """All runs with 403, each by one of its two sentences, and every one or a third of those with another answer."""
    found = []
    for scenario in scenarios:
        for lasting in (False, True):
            dice = random.Random(f"{by} {scenario} {way} {lasting}")
            firsts = range(1, APART + 1) if every or way == "403" else [dice.randint(1, APART)]
            for first in firsts:
                fault = dice.choice(["no-right", "a-policy"]) if way == "403" else way
                found.append(Chosen(scenario, way, fault, lasting, first))
    return found


class Refusing:
    """Refuses every third write of a namespace, from `first` to `last`, once it is armed.

    With `lasting` each write like it is refused, too, until `end`.
    """

    def __init__(self, namespace: str, which: Match, first: int, last: int, *, lasting: bool) -> None:
        self._may_be = which
        self._part = f"/namespaces/{namespace}/"
        self._next, self._last = first, last
        self._lasting = lasting
        self._loop = asyncio.get_running_loop()
        self.armed = False
        self.passed = 0
        """How many writes were let through, repairs of what a test has deleted aside."""
        self.refused: list[Call] = []
        """What was refused, once for each lasting refusal."""
        self.at: list[int] = []
        """Which writes these were, counted from 1."""
        self.meanwhile: set[int] = set()
        """Which were let through while another was being refused."""
        self.place: tuple[str, str] | None = None
        """Method and path of what is being refused."""
        self.times = 0
        """How often it was."""
        self.not_counted: set[str] = set()
        """Paths of what a test has deleted."""
        self.changed = asyncio.Event()

    def judge(self, call: Call) -> bool:
        """Whether this request is to be refused. Called in the proxy's thread, one request at a time."""
        if not self.armed or self._part not in call.path or not self._may_be(call):
            return False
        place = (call.method, call.path)
        if self.place == place:
            self.times += 1
            self._loop.call_soon_threadsafe(self.changed.set)
            return True
        if self.place is None and self._next <= min(self.passed + 1, self._last):
            self._next += APART
            self.refused.append(call)
            self.at.append(self.passed + 1)
            if self._lasting:
                self.place, self.times = place, 1
                self._loop.call_soon_threadsafe(self.changed.set)
            return True
        self.passed += call.path not in self.not_counted
        if self.place is not None:
            self.meanwhile.add(self.passed)
        return False

    def end(self) -> None:
        """What lasted is over, if anything did."""
        self.place = None
        self.not_counted.clear()

    async def begun(self) -> tuple[str, str]:
        """Wait until a refusal that lasts has begun; answers its place."""
        while self.place is None:
            self.changed.clear()
            await self.changed.wait()
        return self.place

    async def tried_again(self) -> None:
        """Wait until what is refused was tried once more, or for `LASTS` seconds."""
        try:
            async with asyncio.timeout(LASTS):
                while self.times < 2:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            pass  # not every write is wanted a second time


class Shared:
    """One operator behind one proxy for many stages; a context manager."""

    def __init__(self, cluster: Cluster, nursery: Nursery, name: str) -> None:
        self._cluster = cluster
        self._name = name
        # Rights are not what is tested, and Podium's own user has them in single namespaces only.
        self.proxy = Proxy(cluster.plane.kubeconfig())
        self._nursery = nursery

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.proxy.__enter__)
        namespace = await self._cluster.namespace(self._name)
        folder = self._cluster.folder / namespace
        self.operator = Nursling(
            self._nursery,
            folder,
            self.proxy.kubeconfig(folder),
            lease_namespace=namespace,
            selector=f"{LABEL}={self._name}",
            workers=WORKERS,
            **SHORT,
        )
        self.operator.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.operator.kill()
        await asyncio.to_thread(self.proxy.__exit__, None, None, None)

    async def stage(self, name: str) -> Stage:
        """A namespace whose ModelDeployment the operator looks after."""
        stage = Stage(self._cluster, await self._cluster.namespace(name), self.operator, self.proxy)
        stage.labels, stage.patience = {LABEL: self._name}, SHARED_PATIENCE
        return stage


def champion(stage: Stage) -> str:
    """The revision that the records call champion; empty without one."""
    return champion_of(stage.all("ControllerRevision"))


async def what_serves_is_made_again(stage: Stage, refusing: Refusing, deleted: set[str]) -> None:
    """Delete the champion's Deployment and its Service and see both come back.

    Pods stay, as with `kubectl delete --cascade=orphan`: what is asked is whether the objects are made again. The
    uids of what is deleted go to `deleted` at once: the scenario may end before it is back.
    """
    place = await refusing.begun()
    gone: dict[tuple[str, str], str] = {}
    for kind, plural, name in (("Deployment", "deployments", champion(stage)), ("Service", "services", MODEL)):
        there = stage.get(kind, name)
        if (
            not champion(stage)
            or (kind == "Deployment" and not _at_rest(stage))
            or there is None
            or place[1].endswith(f"/{plural}/{name}")
        ):
            continue
        refusing.not_counted.add(path_of(kind, stage.namespace, name))
        gone[kind, name] = there["metadata"]["uid"]
        deleted.add(gone[kind, name])
        await stage.api.delete(kind, stage.namespace, name, propagation="Orphan")

    def back(kind: str, name: str) -> bool:
        if _leaving(stage) or (kind == "Deployment" and name != champion(stage)):
            return True
        there = stage.get(kind, name)
        if there is None or there["metadata"]["uid"] == gone[kind, name]:
            return False
        return kind != "Deployment" or all(_owned(one) for one in _replica_sets(stage, name))

    await stage.until(
        lambda: all(back(*one) for one in gone),
        f"{', '.join(' '.join(one) for one in gone)} made again while {' '.join(place)} is refused",
    )
    for _, name in gone:
        # The scenario has gone on without this revision: nobody else takes what our deletion has left of it.
        for one in _replica_sets(stage, name) if stage.get("Deployment", name) is None else []:
            if not _owned(one):
                await stage.api.delete("ReplicaSet", stage.namespace, one["metadata"]["name"])


def _replica_sets(stage: Stage, revision: str) -> list[Object]:
    found = stage.all("ReplicaSet")
    return [one for one in found if one["metadata"]["labels"].get(names.LABEL_REVISION) == revision]


def _owned(obj: Object) -> bool:
    return any(one.get("controller") for one in obj["metadata"].get("ownerReferences") or [])


def _at_rest(stage: Stage) -> bool:
    """Whether the champion is what spec asks for: else it may be replaced before its Deployment is made again."""
    return champion(stage) == stage.revision(stage.spec["model"]["version"])


def _leaving(stage: Stage) -> bool:
    found = stage.get(MODEL_DEPLOYMENT, MODEL)
    return found is None or "deletionTimestamp" in found["metadata"]
