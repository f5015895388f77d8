"""The demo's acts, in their order. Each notes what it measured; the closing table is made of that."""

import math
import time
from datetime import datetime

from tests import stage as s
from tests.canaries import until_routed
from tests.client import Object, condition, wait
from tests.demo import evidence
from tests.demo.show import Show, figures
from tests.load import Counts

DIGITS, BLUE_GREEN, TORCH, CANARY = "digits", "digits-bg", "digits-torch", "digits-canary"
ROLLOUT = {"minReadySeconds": 5}
# What the demo drew and asked: an image that both versions read rightly, and one that only the second does.
EASY, HARD = 0, -1
GROWING: tuple[Object, ...] = ({"weight": 5, "for": "5s"}, {"weight": 25, "for": "5s"})
ENOUGH = 500
"""Requests that a share is measured by."""


def clear(show: Show) -> None:
    """Removes what an earlier demo left, so that every run starts from nothing."""
    stage = show.stage
    left = stage.client.list("ModelDeployment", stage.namespace)
    for obj in left:
        stage.client.delete("ModelDeployment", stage.namespace, obj["metadata"]["name"])
    if left:
        show.terminal.say("Removing what an earlier demo left ...")
        wait("no pods of an earlier demo", lambda: not stage.client.list("Pod", stage.namespace), 90)


def digits(version: str, *, file: str = "", sha256: str = "") -> Object:
    """The ModelDeployment of the demo: two replicas, a RollingUpdate."""
    pin: Object = {"model": {"sha256": sha256}} if sha256 else {}
    return s.onnx(DIGITS, version, file=file, rollout={"strategy": "RollingUpdate", **ROLLOUT}, **pin)


def blue_green(version: str) -> Object:
    """The same, as BlueGreen."""
    return s.onnx(BLUE_GREEN, version, rollout={"strategy": "BlueGreen", **ROLLOUT})


def canary(version: str, *steps: Object) -> Object:
    """The same through routers, with one pod of each version: its weights are exact all the same."""
    by_steps = {"strategy": "Canary", "promotion": "Manual", "steps": list(steps), "analysis": {"metrics": []}}
    rollout = {**by_steps, "scaleDownDelay": "0s", **ROLLOUT}
    return s.onnx(CANARY, version, replicas=1, traffic={"router": "Envoy"}, rollout=rollout)


def first(show: Show) -> None:
    """Version 1 from the model store to a prediction; a TorchServe model beside it."""
    terminal, stage = show.terminal, show.stage
    terminal.title("A model from the store, served")
    terminal.say(
        "digits-1.yaml names an ONNX file in an S3 store, its sha256, and how many replicas. Podium fetches it into "
        "each pod, checks it, and starts the runtime. Beside it a PyTorch model on TorchServe, and one that "
        "will be updated blue/green."
    )
    obj = digits("1", sha256=show.digits.sha256("1"))
    show.apply(obj, "digits-1")
    terminal.output((show.manifests / "digits-1.yaml").read_text())
    show.apply(s.torch(TORCH, "1", rollout=ROLLOUT), "digits-torch-1")
    show.apply(blue_green("1"), "digits-bg-1")
    show.apply(canary("1", *GROWING), "digits-canary-1")
    _, took = show.follow(DIGITS, "Ready", s.ready)
    show.held("ONNX model from S3 to Ready", f"{took:.0f} s, 2 replicas")
    predict(show, DIGITS, EASY, "1")
    _, more = show.follow(TORCH, "Ready", s.ready)
    show.held("TorchServe model from S3 to Ready", f"{took + more:.0f} s")
    said, revision = stage.ask(TORCH, show.digits.images[0], runtime="torchserve")
    right = str(show.torch.answers["1"][0])
    show.held("TorchServe predicts", f"{said} (the image shows {show.digits.truth[0]}), says {revision}", said == right)
    show.follow(BLUE_GREEN, "Ready", s.ready)


def predict(show: Show, name: str, number: int, version: str) -> None:
    """Asks a model about an image, draws both, and checks the answer against what this version is known to answer."""
    champion = show.stage.get(name)["status"]["champion"]["revision"]

    def answer() -> tuple[str, str] | None:
        found = show.stage.ask(name, show.digits.images[number])
        return found if found[1] == champion else None

    # Ready speaks of the EndpointSlices; kube-proxy follows them a moment later.
    said, revision = wait(f"an answer of {champion}", answer, 10)
    truth = show.digits.truth[number]
    show.picture(number, f"version {version} reads {said}; it is a {truth}")
    right = str(show.digits.answers[version][number])
    show.held(
        f"A prediction of version {version}", f"{said} (a {truth} was drawn), answered by {revision}", said == right
    )


def load(show: Show) -> None:
    """Steady load from here to the end."""
    show.terminal.title("Load")
    show.terminal.say(
        "From here on a client asks digits 200 times a second, half of it over new connections, and digits-torch 10 "
        "times. It never tries again, and counts every error, every answer over 2 s, and every wrong answer."
    )
    show.flow(DIGITS, show.stage.load(DIGITS, show.digits.questions()))
    show.flow(TORCH, show.stage.torch_load(TORCH, show.torch.questions(), rate=10))
    show.terminal.output(str(show.loads[DIGITS].counts()))


def rolling_update(show: Show) -> None:
    """Version 2 replaces version 1 pod by pod."""
    show.terminal.title("Version 2: rolling update under load")
    before = show.loads[DIGITS].counts()
    show.apply(digits("2", sha256=show.digits.sha256("2")), "digits-2")
    _, took = show.follow(DIGITS, "version 2 Ready", lambda obj: s.ready(obj) and s.champion(obj) == "2")
    wait("answers of version 2", lambda: both_answered(show.since(DIGITS, before)), 15)
    seen = show.since(DIGITS, before)
    held = not seen.failed and both_answered(seen)
    show.held("Rolling update to version 2", f"{took:.0f} s; {figures(seen)}", held)
    predict(show, DIGITS, HARD, "2")


def both_answered(counts: Counts) -> bool:
    """Whether version 1 and version 2 both answered, each as itself."""
    return sorted(list(versions) for versions in counts.versions.values()) == [["1"], ["2"]]


def switch(show: Show) -> None:
    """The same as BlueGreen: all at once."""
    show.terminal.title("The same as BlueGreen: all requests move at once")
    show.flow(BLUE_GREEN, show.stage.load(BLUE_GREEN, show.digits.questions()))
    before = show.loads[BLUE_GREEN].counts()
    show.apply(blue_green("2"), "digits-bg-2")
    obj, took = show.follow(BLUE_GREEN, "version 2 Ready", lambda obj: s.ready(obj) and s.champion(obj) == "2")
    wait("answers of version 2", lambda: both_answered(show.since(BLUE_GREEN, before)), 15)
    seen = show.since(BLUE_GREEN, before)
    show.ebb(BLUE_GREEN)
    held = not seen.failed and both_answered(seen)
    show.held("BlueGreen to version 2", f"{took:.0f} s; {figures(seen)}", held)
    until = (obj["status"].get("previous") or {}).get("until", "")
    show.held("The old version stays warm", f"until {until}: one command goes back", bool(until))


def exact_weights(show: Show) -> None:
    """A canary through the namespace's routers: a person promotes it."""
    show.terminal.title("A canary through Envoy: one pod of each version, and exact weights")
    show.terminal.say(
        "Two routers divide the requests for digits-canary. Version 2 gets 5 %, then 25 %, and then waits for a person."
    )
    until_routed(show.stage, CANARY)
    # One pod has to answer it beside a version that starts, on whatever machine this is.
    show.flow(CANARY, show.stage.load(CANARY, show.digits.questions(), rate=100))
    before = show.loads[CANARY].counts()
    show.apply(canary("2", *GROWING), "digits-canary-2")
    revision = shared(show, "2", 25)
    waits, _ = show.follow(CANARY, "waits for a person", lambda o: condition(o, "Paused").get("status") == "True")
    show.terminal.output(f"status.message: {waits['status']['message']}")
    began = time.monotonic()
    show.podium("promote", CANARY, "--revision", revision)
    show.follow(CANARY, "version 2 Ready", lambda obj: s.ready(obj) and s.champion(obj) == "2")
    took = time.monotonic() - began
    seen = show.since(CANARY, before)
    held = not seen.failed and both_answered(seen)
    show.held("A person promotes it", f"all requests moved in {took:.1f} s; {figures(seen)}", held)


def second_thoughts(show: Show) -> None:
    """A canary is taken back at 50 %."""
    show.terminal.title("A canary that is aborted at 50 %")
    before = show.loads[CANARY].counts()
    show.apply(canary("1", {"weight": 50}, {"pause": True}), "digits-canary-3")
    revision = shared(show, "1", 50)
    began = time.monotonic()
    show.podium("abort", CANARY, "--revision", revision)
    rolled, _ = show.follow(CANARY, "RolledBack", lambda obj: obj["status"]["phase"] == "RolledBack")
    took = time.monotonic() - began
    whole = show.since(CANARY, before)
    settled = show.loads[CANARY].counts()
    show.loads[CANARY].await_answers(200)
    after = show.ebb(CANARY).since(settled)
    champion = rolled["status"]["champion"]["revision"]
    held = not whole.failed and not after.failed and list(after.revisions) == [champion]
    show.held("A person aborts it", f"no requests to it after {took:.1f} s; {figures(whole)}", held)


def shared(show: Show, version: str, weight: int) -> str:
    """Follows a canary until routers confirm its weight, and measures its share; its revision."""

    def applied(obj: Object) -> bool:
        status = obj["status"]
        said = (status.get("rollout") or {}).get("weight") or {}
        return (status.get("candidate") or {}).get("version") == version and said.get("applied") == weight

    obj, _ = show.follow(CANARY, f"{weight} % of version {version}", applied)
    revision = str(obj["status"]["candidate"]["revision"])
    load = show.loads[CANARY]
    before = load.await_answers(20)
    seen = load.await_answers(ENOUGH).since(before)
    share = seen.revisions.get(revision, 0) / seen.answered
    # 5 standard deviations of as many draws
    held = abs(share - weight / 100) < 5 * math.sqrt(weight / 100 * (1 - weight / 100) / seen.answered)
    show.held(f"{weight} % for version {version}", f"{share:.1%} of {seen.answered:,} requests", held)
    return revision


def wrong_bytes(show: Show) -> None:
    """A version 3 whose bytes are not those that its sha256 pins."""
    show.terminal.title("Version 3: its bytes do not match its sha256")
    wrong = digits("3", file="1", sha256="0" * 64)
    refused(show, wrong, "3", "Version 3 (wrong sha256) rolled back", "ChecksumMismatch")


def crashing(show: Show) -> None:
    """A version 4 that onnxruntime cannot load."""
    show.terminal.title("Version 4: it crashes")
    refused(show, digits("4", file="broken"), "4", "Version 4 (crashes) rolled back", "ModelInvalid")


def refused(show: Show, obj: Object, version: str, what: str, cause: str) -> None:
    """Applies a bad version; it is rolled back before its deadline, for a stated reason, and nobody notices."""
    before = show.loads[DIGITS].counts()
    applied = time.monotonic()
    show.apply(obj, f"digits-{version}")

    def on_its_way(now: Object) -> bool:
        return bool((now["status"].get("candidate") or {}).get("version") == version)

    began, _ = show.follow(DIGITS, f"version {version} on its way", on_its_way)
    deadline = moment(began["status"]["rollout"]["deadline"])
    rolled, _ = show.follow(DIGITS, "RolledBack", lambda o: o["status"]["phase"] == "RolledBack")
    took = time.monotonic() - applied
    seen = show.since(DIGITS, before)
    status = rolled["status"]
    left = deadline - moment(status["rollout"]["decision"]["at"])
    show.terminal.output(f"status.message: {status['message']}")
    held = left > 0 and cause in status["message"] and s.champion(rolled) == "2"
    show.held(
        what, f"{took:.0f} s, {left:.0f} s before its deadline: {status['rollout']['decision']['rule']}, {cause}", held
    )
    alone = list(seen.revisions) == [status["champion"]["revision"]]
    show.held("  meanwhile the champion", figures(seen), not seen.failed and alone)


def moment(text: str) -> float:
    """Seconds of an RFC 3339 time."""
    return datetime.fromisoformat(text).timestamp()


def look(show: Show) -> None:
    """What a user sees."""
    show.terminal.title("What a user sees")
    torch = show.ebb(TORCH)
    show.held("TorchServe beside it, all the time", figures(torch), not torch.failed)
    whole = show.ebb(DIGITS)
    show.kubectl("get", "mdep")
    show.podium("get")
    show.kubectl("describe", "mdep", DIGITS)
    show.kubectl("events", "--for", f"modeldeployment/{DIGITS}")
    show.held("digits, from the first request to the last", figures(whole), not whole.failed)


ACTS = (
    first,
    load,
    rolling_update,
    switch,
    exact_weights,
    second_thoughts,
    *evidence.ACTS,
    wrong_bytes,
    crashing,
    look,
)
