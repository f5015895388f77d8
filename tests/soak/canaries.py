"""Canaries in a row through routers, under a steady load of HTTP and of gRPC at once: no request may fail.

    python -m tests.soak.canaries --canaries 100

On a cluster of its own. Two ModelDeployments roll side by side: the digits on onnxruntime, which are asked over HTTP,
and tests/models/grpc_server. Every canary has a new version; they end in turn by a person's promote, by the end of
their steps, by abort, and by a spec that is put back. Clients try nothing again. (Routers alone, without the operator
and without pods: tests/integration/router/test_canaries.py.)

Exit code 1 if a request failed, if a canary did not end as it should, if the share of requests at a weight was not that
weight, if a container was restarted, or if a load does not see that the routers are killed, which is the control.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.canaries import applied, command, drawn, kill_routers, until_all_are_of, until_routed
from tests.client import Client, Object, Refused, wait
from tests.cluster import podium
from tests.cluster.cache import REPOSITORY
from tests.cluster.choice import choose
from tests.cluster.foreign import CONTEXT_VARIABLE, borrowed
from tests.load import Load, Question
from tests.models.grpc_server import grpc_model, put_grpc_server
from tests.stage import Stage, champion, onnx, put_digits, ready, start

FOLDER = REPOSITORY / ".cluster-soak"
HTTP, GRPC = "soak-http", "soak-grpc"
RATE = 100.0
"""Requests per second, of each kind."""
ENOUGH = 120
"""Answers that one canary's share at a weight is judged by; those of all canaries are judged together, too."""
ROLLOUT: Object = {
    "strategy": "Canary",
    "analysis": {"metrics": []},
    "minReadySeconds": 1,
    "scaleDownDelay": "0s",
}
ROUTED: Object = {"traffic": {"router": "Envoy"}, "replicas": 1}
PAUSE: Object = {"pause": True}


def of_digits(version: str, file: str, rollout: Object) -> Object:
    return onnx(HTTP, version, file=file, rollout=rollout, **ROUTED)


def of_grpc(version: str, file: str, rollout: Object) -> Object:
    return grpc_model(GRPC, version, rollout=rollout, **ROUTED)


@dataclass
class Row:
    """The canaries of one ModelDeployment."""

    stage: Stage
    name: str
    make: Callable[[str, str, Object], Object]
    """A spec of a version. There are two files of digits, which take turns: a candidate answers unlike the champion."""
    load: Load | None = None
    files: tuple[str, str] = ("1", "2")
    """The champion's, and the one whose turn it is."""
    champion: Object = field(default_factory=dict)
    """As it was applied."""
    asked: Object = field(default_factory=dict)
    """What was applied last."""
    candidate: str = ""
    """The revision whose turn it is."""
    reached: set[int] = field(default_factory=set)
    """Weights that were waited for."""
    judged: Counter[int] = field(default_factory=Counter)
    """Answers that shares were judged by, by weight."""
    found: Counter[int] = field(default_factory=Counter)
    """Those of them that candidates gave."""
    wrong: list[str] = field(default_factory=list)

    @property
    def version(self) -> str:
        """Of the champion."""
        return str(self.champion["spec"]["model"]["version"])

    @property
    def asking(self) -> Load:
        """The load, which has begun."""
        assert self.load is not None
        return self.load

    def first(self) -> None:
        """Version 0, which the routers lead to."""
        self.champion = self.make("0", self.files[0], ROLLOUT)
        self.stage.apply(self.champion)
        self.stage.until_ready(self.name, "0")
        until_routed(self.stage, self.name)

    def begin(self, version: str, *steps: Object) -> None:
        """Applies a new version."""
        self.asked = self.make(version, self.files[1], {**ROLLOUT, "steps": list(steps)})
        self.stage.apply(self.asked)

    def put_back(self) -> None:
        """Applies the champion's spec."""
        self.stage.apply(self.champion)

    def at(self, version: str, weight: int) -> None:
        """Waits until a weight is applied, and judges the share of the answers that come while it is."""
        self.reached.add(weight)

        def reached(obj: Object) -> bool:
            return (applied(obj, version) or 0) >= weight or champion(obj) == version

        obj = self.stage.until(self.name, f"{weight} % of {version}", reached)
        before = self.asking.await_answers(1)
        seen = self.asking.await_answers(ENOUGH).since(before)
        if {applied(obj, version), applied(self.stage.get(self.name), version)} != {weight}:
            return  # the step is over: some of the answers may be of the next one's weight
        self.candidate = str(obj["status"]["candidate"]["revision"])
        found = seen.revisions.get(self.candidate, 0)
        self.judged[weight] += seen.answered
        self.found[weight] += found
        if not drawn(found, seen.answered, weight):
            self.wrong.append(f"{self.name}: version {version} gave {found} of {seen.answered} answers at {weight} %")

    def command(self, verb: str) -> None:
        """To the candidate."""
        command(self.stage, self.name, verb, self.candidate)

    def until_won(self, version: str) -> None:
        """Waits until a version is the champion, and has all requests."""
        obj = self.stage.until_ready(self.name, version)
        self.champion, self.files = self.asked, self.files[::-1]
        until_all_are_of(self.asking, obj["status"]["champion"]["revision"])

    def until_lost(self, what: str, over: Callable[[Object], bool]) -> None:
        """Waits until a candidate is out of its rollout, and the champion that there was has all requests."""
        obj = self.stage.until(self.name, what, lambda obj: over(obj) and champion(obj) == self.version)
        until_all_are_of(self.asking, obj["status"]["champion"]["revision"])


def promoted(row: Row, version: str) -> None:
    """A person promotes it at its first weight."""
    row.begin(version, {"weight": 25, "for": "2s"}, PAUSE)
    row.at(version, 25)
    row.command("promote")
    row.until_won(version)


def through_its_steps(row: Row, version: str) -> None:
    """Nobody says anything."""
    row.begin(version, {"weight": 10, "for": "3s"}, {"weight": 50, "for": "3s"})
    row.at(version, 10)
    row.at(version, 50)
    row.until_won(version)


def aborted(row: Row, version: str) -> None:
    """A person takes it back at 50 %."""
    row.begin(version, {"weight": 50, "for": "2s"}, PAUSE)
    row.at(version, 50)
    row.command("abort")
    row.until_lost("aborted", lambda obj: bool(obj["status"]["phase"] == "RolledBack"))


def put_back(row: Row, version: str) -> None:
    """The champion's spec is applied again at 25 %."""
    row.begin(version, {"weight": 25, "for": "2s"}, PAUSE)
    row.at(version, 25)
    row.put_back()
    row.until_lost("put back", lambda obj: ready(obj) and not obj["status"].get("candidate"))


ENDINGS = (promoted, through_its_steps, aborted, put_back)


def soak(rows: list[Row], canaries: int) -> None:
    """So many canaries of each; AssertionError if one does not end."""
    before = [row.asking.counts() for row in rows]
    with ThreadPoolExecutor(len(rows)) as pool:
        for number in range(1, canaries + 1):
            ending, began = ENDINGS[(number - 1) % len(ENDINGS)], time.monotonic()
            for done in [pool.submit(ending, row, str(number)) for row in rows]:
                done.result()
            seen = [row.asking.await_answers(20) for row in rows]
            parts = [f"{row.name}: {now.since(was)}" for row, now, was in zip(rows, seen, before, strict=True)]
            took = time.monotonic() - began
            print(f"{number:4} {ending.__name__.replace('_', ' '):18} {took:4.0f} s   {'; '.join(parts)}", flush=True)
            before = seen


def shares(rows: list[Row]) -> list[str]:
    """Prints the shares of all canaries together; what is wrong with them."""
    wrong = []
    for row in rows:
        for weight in sorted(row.reached):
            found, answers = row.found[weight], row.judged[weight]
            if not answers:
                wrong.append(
                    f"{row.name}: no share was judged at {weight} %: the machine is too slow for such short steps"
                )
                continue
            print(f"{row.name}: {found / answers:.2%} of {answers:,} answers at {weight} %")
            if not drawn(found, answers, weight):
                wrong.append(f"{row.name}: {found} of {answers} answers at {weight} %, all canaries together")
    return wrong


def restarts(stage: Stage) -> list[str]:
    """Containers of routers, of models and of the operator that ended once."""
    pods = [pod for namespace in (stage.namespace, podium.NAMESPACE) for pod in stage.client.list("Pod", namespace)]
    states = [(pod["metadata"]["name"], one) for pod in pods for one in pod["status"].get("containerStatuses", [])]
    return [
        f"{pod}: {one['name']} was restarted, after {(one.get('lastState') or {}).get('terminated')}"
        for pod, one in states
        if one["restartCount"]
    ]


def control(stage: Stage, rows: list[Row]) -> list[str]:
    """Kills the routers; the loads that have seen nothing of it."""
    before = [row.asking.counts().failed for row in rows]

    def blind() -> list[str]:
        return [row.name for row, was in zip(rows, before, strict=True) if row.asking.counts().failed == was]

    kill_routers(stage)
    try:
        wait("each load sees it", lambda: not blind(), 60)
    except AssertionError:
        return [f"{name}: no request failed when all routers were killed: failures are not counted" for name in blind()]
    return []


def play(stage: Stage, questions: list[Question], canaries: int) -> list[str]:
    """All of it; what is wrong."""
    http, grpc = rows = [Row(stage, HTTP, of_digits), Row(stage, GRPC, of_grpc)]
    for row in rows:
        row.first()
    with stage.load(HTTP, questions, rate=RATE) as http.load, stage.grpc_load(GRPC, rate=RATE) as grpc.load:
        for row in rows:
            row.asking.await_answers()
        wrong = []
        try:
            soak(rows, canaries)
        except (AssertionError, TimeoutError, Refused) as error:
            wrong.append(f"ended early: {error}")
        wrong += [line for row in rows for line in row.wrong] + shares(rows) + restarts(stage)
        for row in rows:
            counts = row.asking.await_answers(1)
            print(f"{row.name}: {counts}")
            if counts.failed:
                wrong.append(f"{row.name}: {counts.failed} requests failed")
        return wrong + control(stage, rows)


def main() -> int:
    """Brings the cluster up, plays, takes it down; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.canaries", description=__doc__)
    parser.add_argument("--canaries", type=int, default=100, help="how many in a row, of each of the two (100)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="the cluster's folder (.cluster-soak)")
    arguments = parser.parse_args()
    if borrowed():
        parser.error(f"it needs a cluster of its own: unset {CONTEXT_VARIABLE}")
    try:
        cluster = start(arguments.folder)
        podium.make_demo_namespace(cluster)
        client = Client(cluster.kubeconfig_file)
        put_grpc_server(cluster, client)
        stage = Stage(cluster, client, podium.DEMO_NAMESPACE)
        wrong = play(stage, put_digits(cluster).questions(), arguments.canaries)
    finally:
        choose(arguments.folder).down()
    print("\n".join(["", *wrong] if wrong else [f"{arguments.canaries} canaries of each: no request failed"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
