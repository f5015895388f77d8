"""The demo's acts about evidence: the same canary, which nobody promotes or aborts but what its callers see."""

from collections.abc import Callable
from datetime import datetime

from podium.cli.screen import LiveViews, Screen
from podium.cli.view import of
from tests import stage as s
from tests.canaries import until_routed
from tests.client import Object, wait
from tests.cluster import podium
from tests.demo.show import Show, figures
from tests.load import Counts
from tests.models.digits import FAILING, RENAMED

NAME = "digits-weighed"
STEPS: list[Object] = [{"weight": 25, "for": "5s"}, {"weight": 60, "for": "5s"}]
ANALYSIS: Object = {
    "interval": "1s",
    # The default has latency, too, from a minute after a pod is ready: longer than an act.
    "metrics": [
        {"name": "errors", "type": "ErrorRate"},
        {"name": "rejections", "type": "Rejections"},
        {"name": "abandoned", "type": "Abandoned"},
    ],
}
RATE = 200
PATIENCE = 180
"""Seconds within which evidence decides."""


def weighed(version: str, file: str) -> Object:
    """One pod of each version behind two routers."""
    rollout = {"strategy": "Canary", "steps": STEPS, "analysis": ANALYSIS, "minReadySeconds": 2, "scaleDownDelay": "0s"}
    return s.onnx(NAME, version, file=file, replicas=1, traffic={"router": "Envoy"}, rollout=rollout)


def begin(show: Show) -> None:
    """The model that the next acts are about, and its load."""
    show.terminal.title("Evidence: a new version earns its place on live traffic")
    show.terminal.say(
        "Nobody looks at a dashboard: routers count what callers see of both versions, and a new one takes over once "
        "it is surely no worse. Below is `kubectl podium get digits-weighed -w`."
    )
    show.apply(weighed("1", "1"), "digits-weighed-1")
    show.follow(NAME, "Ready", s.ready)
    until_routed(show.stage, NAME)
    show.flow(NAME, show.stage.load(NAME, show.digits.questions(), rate=RATE))


def promoted(show: Show) -> None:
    """A good version 2 is promoted by evidence."""
    begin(show)
    obj, seen = decided(show, "2", "2")
    held = outcome(obj) == ("Promoted", "evidence") and not seen.failed
    show.held("Version 2, as good: promoted by evidence", f"{lasted(obj):.0f} s; {figures(seen)}", held)


def failing(show: Show) -> None:
    """A version 3 that answers 3 % of its requests with 5xx."""
    show.terminal.title("Version 3 answers 3 % of its requests with 5xx")
    rolled_back(show, "3", FAILING, "harm: errors", "Version 3, 3 % of 5xx: rolled back by evidence")


def refusing(show: Show) -> None:
    """A version 4 whose input has another name."""
    show.terminal.title("Version 4 refuses an input which version 2 takes")
    rolled_back(show, "4", RENAMED, "harm: rejections", "Version 4, refuses requests: rolled back by evidence")


def rolled_back(show: Show, version: str, file: str, rule: str, what: str) -> None:
    """It goes by itself, for a stated reason; what failed were its own answers alone."""
    obj, seen = decided(show, version, file)
    show.terminal.output(f"status.message: {obj['status']['message']}")
    held = outcome(obj) == ("RolledBack", rule) and s.champion(obj) == "2" and 0 < seen.failed < seen.answered
    show.held(what, f"{lasted(obj):.0f} s; {seen.failed} of its answers failed; {figures(seen)}", held)


def leader_killed(show: Show) -> None:
    """A good version 5; the operator that counts is killed half-way, and the other one goes on from the ledger."""
    show.terminal.title("Version 5, and the leading operator is killed half-way")
    killed = ""

    def kill(obj: Object) -> None:
        nonlocal killed
        killed, _ = leader(show)
        show.stage.client.delete("Pod", podium.NAMESPACE, killed.rsplit("-", 1)[0], grace=0)

    obj, seen = decided(show, "5", "1", half_way=kill)
    leads, since = leader(show)
    show.ebb(NAME)
    show.terminal.output(f"Lease {podium.RELEASE}: held by {killed or 'nobody who was killed'}, then by {leads}")
    another = bool(killed) and leads != killed and since <= decided_at(obj)
    held = outcome(obj) == ("Promoted", "evidence") and not seen.failed and another
    show.held("Version 5, leader killed half-way: promoted", f"{lasted(obj):.0f} s; {figures(seen)}", held)


def leader(show: Show) -> tuple[str, datetime]:
    """Who holds the operators' Lease, and since when."""
    lease = show.stage.client.get("Lease", podium.NAMESPACE, podium.RELEASE)["spec"]
    return str(lease["holderIdentity"]), datetime.fromisoformat(lease["acquireTime"])


def decided(
    show: Show, version: str, file: str, half_way: Callable[[Object], None] | None = None
) -> tuple[Object, Counts]:
    """Rolls a version out, shows how evidence grows, and returns its end with what callers saw."""
    before = show.loads[NAME].counts()
    show.apply(weighed(version, file), f"{NAME}-{version}")
    kill = half_way
    with LiveViews(Screen()) as live:

        def over() -> Object | None:
            nonlocal kill
            obj = show.stage.get(NAME)
            live.show([of(obj)])
            status = obj["status"]
            if kill is not None and (status.get("rollout") or {}).get("step") == len(STEPS):
                kill(obj)
                kill = None
            latest = (status.get("history") or [{}])[0].get("version")
            ended = latest == version and status["phase"] in ("Healthy", "RolledBack") and s.current(obj)
            return obj if ended else None

        obj = wait(f"a decision on version {version}", over, PATIENCE)
    assert isinstance(obj, dict)
    return obj, show.since(NAME, before)


def outcome(obj: Object) -> tuple[str, str]:
    """What became of the rollout, and by which rule."""
    found = obj["status"]["rollout"]["decision"]
    return found["verdict"], found["rule"]


def decided_at(obj: Object) -> datetime:
    """When it was decided."""
    return datetime.fromisoformat(obj["status"]["rollout"]["decision"]["at"])


def lasted(obj: Object) -> float:
    """Seconds from its start to its decision."""
    return (decided_at(obj) - datetime.fromisoformat(obj["status"]["rollout"]["startedAt"])).total_seconds()


ACTS = (promoted, failing, refusing, leader_killed)
