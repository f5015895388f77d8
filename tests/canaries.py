"""Words for canaries through routers, as tests ask for them and see them."""

import math
import time
from dataclasses import dataclass, field

from podium.api import names
from podium.router.places import STATS_PORT
from tests.client import Object, condition, session, wait
from tests.load import Counts, Load
from tests.stage import SLOW_START, Stage

SIGMAS = 5
"""Standard deviations by which a share may be off."""


def routers(stage: Stage) -> list[Object]:
    """Those that stay."""
    pods = stage.client.list("Pod", stage.namespace, f"{names.LABEL_ROUTER}={names.ROUTER}")
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def ready_routers(stage: Stage) -> list[Object]:
    """Those of them that are Ready."""
    return [pod for pod in routers(stage) if condition(pod, "Ready").get("status") == "True"]


def callers(router: Object, name: str) -> int:
    """How many connections the callers of a ModelDeployment have to a router, as its Envoy counts them."""
    connected = f"http.to.{name}.downstream_cx_active"
    url = f"http://{router['status']['podIP']}:{STATS_PORT}/stats?filter={connected}"
    with session() as asking:
        _, _, count = asking.get(url, timeout=5).text.strip().partition(": ")
    return int(count or 0)


def until_routed(stage: Stage, name: str) -> None:
    """Until a ModelDeployment's Service leads to the routers."""

    def leads() -> bool:
        return bool(stage.client.get("Service", stage.namespace, name)["spec"]["selector"] == names.router_selector())

    wait(f"the Service {name} leads to the routers", leads, SLOW_START)


def applied(obj: Object, version: str) -> int | None:
    """The weight of a candidate of this version that the routers have confirmed; None if there is none."""
    status = obj.get("status") or {}
    if (status.get("candidate") or {}).get("version") != version:
        return None
    said: int | None = ((status.get("rollout") or {}).get("weight") or {}).get("applied")
    return said


def until_weight(stage: Stage, name: str, version: str, weight: int) -> str:
    """Until the routers have confirmed the candidate's weight; its revision."""
    found = stage.until(name, f"{weight} % of {version}", lambda obj: applied(obj, version) == weight)
    return str(found["status"]["candidate"]["revision"])


def until_all_are_of(load: Load, revision: str) -> None:
    """Until a revision gives every answer: what was on its way elsewhere is over."""

    def alone() -> bool:
        before = load.await_answers(1)
        return list(load.await_answers(30).since(before).revisions) == [revision]

    wait(f"all answers are those of {revision}", alone, 60)


def until_none_fails(load: Load, seconds: float) -> None:
    """Until no request has failed for so long."""
    failed, since = load.counts().failed, time.monotonic()

    def quiet() -> bool:
        nonlocal failed, since
        now = load.counts().failed
        if now > failed:
            failed, since = now, time.monotonic()
        return time.monotonic() - since > seconds

    wait(f"no request fails for {seconds:g} s", quiet, 60 + seconds)


@dataclass
class Parts:
    """Cuts a load into parts, each since the one before."""

    load: Load
    seen: dict[str, Counts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._counted = self.load.await_answers()

    def end(self, name: str, answers: int = 200) -> Counts:
        """Of all since the last part, and so many answers more."""
        now = self.load.await_answers(answers)
        self.seen[name], self._counted = now.since(self._counted), now
        return self.seen[name]


def command(stage: Stage, name: str, verb: str, revision: str) -> None:
    """A person's."""
    said = {"metadata": {"annotations": {names.ANNOTATION_COMMAND: f"{verb} {revision} tests"}}}
    stage.client.patch("ModelDeployment", stage.namespace, name, said)


def kill_routers(stage: Stage) -> None:
    """All of them at once, without a drain: requests are lost by it, which a load has to see."""
    for pod in routers(stage):
        stage.client.delete("Pod", stage.namespace, pod["metadata"]["name"], grace=0)


def drawn(found: int, of: int, weight: int) -> bool:
    """Whether `found` of so many draws may have come of a weight in percent."""
    expected = weight / 100
    return abs(found - expected * of) < SIGMAS * math.sqrt(of * expected * (1 - expected))
