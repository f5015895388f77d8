"""Canaries of the very model that serves, under load with errors in both: how many does evidence roll back?

    python -m tests.soak.alike --canaries 40

On a cluster of its own, four at once. All versions are the same bytes, of which 1 % of the requests are answered with
500. Every canary has 20 s at 10, 25 and 50 %, and until maxDuration to be decided, which then promotes it: what is
counted is how many evidence rolls back, all of them falsely. At the promised 5 % more than 5 of 40 happens in 1.4 % of
such runs. Exit code 1 for more than that share, and for a canary that did not end.
"""

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.canaries import until_routed
from tests.client import Client, Object
from tests.cluster import podium
from tests.cluster.cache import REPOSITORY
from tests.cluster.choice import choose
from tests.cluster.foreign import CONTEXT_VARIABLE, borrowed
from tests.load import Question
from tests.models.digits import FAILING, Digits
from tests.stage import Stage, onnx, put_digits, start

FOLDER = REPOSITORY / ".cluster-soak"
LANES = 4
RATE = 100.0
"""Requests per second of each."""
SHARE = 0.01
ALLOWED = 5 / 40
ROLLOUT: Object = {
    "strategy": "Canary",
    "steps": [{"weight": weight, "for": "20s"} for weight in (10, 25, 50)],
    "analysis": {"interval": "1s", "warmUp": "10s"},
    "maxDuration": "90s",
    "onInconclusive": "Promote",
    "minReadySeconds": 1,
    "scaleDownDelay": "0s",
}


def spec(name: str, version: str) -> Object:
    """Whatever the version, the same bytes."""
    return onnx(name, version, file=FAILING, replicas=1, traffic={"router": "Envoy"}, rollout=ROLLOUT)


def questions(models: Digits) -> list[Question]:
    """Of which 1 % make the model fail."""
    found = models.questions("2")
    bad = [found[place] for place in models.fails]
    good = [each for place, each in enumerate(found) if place not in models.fails]
    return [*bad, *(good[n % len(good)] for n in range(round(len(bad) / SHARE) - len(bad)))]


def lane(stage: Stage, name: str, asked: list[Question], canaries: int) -> Counter[str]:
    """So many canaries in a row; what became of them, by rule."""
    ends: Counter[str] = Counter()
    stage.apply(spec(name, "0"))
    stage.until_ready(name, "0")
    until_routed(stage, name)
    with stage.load(name, asked, rate=RATE) as load:
        load.await_answers()
        for number in range(1, canaries + 1):
            version, began = str(number), time.monotonic()
            stage.apply(spec(name, version))

            def over(obj: Object, version: str = version) -> bool:
                latest = (obj["status"].get("history") or [{}])[0].get("version")
                return latest == version and obj["status"]["phase"] in ("Healthy", "RolledBack")

            obj = stage.until(name, f"the end of {version}", over, 300)
            decision = obj["status"]["rollout"]["decision"]
            end, took = f"{decision['verdict']} by {decision['rule']}", time.monotonic() - began
            ends[end] += 1
            print(f"{name} {version:>3} {took:4.0f} s  {end}", flush=True)
        counts = load.counts()
        print(f"{name}: {counts}", flush=True)
    failed = counts.failed / max(counts.answered + counts.failed, 1)
    assert SHARE / 2 <= failed <= 2 * SHARE, f"{name}: {failed:.2%} failed, where {SHARE:.0%} was to fail in both arms"
    return ends


def main() -> int:
    """Brings the cluster up, plays, takes it down; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.alike", description=__doc__)
    parser.add_argument("--canaries", type=int, default=40, help="how many in all (40)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="the cluster's folder (.cluster-soak)")
    arguments = parser.parse_args()
    if borrowed():
        parser.error(f"it needs a cluster of its own: unset {CONTEXT_VARIABLE}")
    ends: Counter[str] = Counter()
    wrong = []
    try:
        cluster = start(arguments.folder)
        podium.make_demo_namespace(cluster)
        stage = Stage(cluster, Client(cluster.kubeconfig_file), podium.DEMO_NAMESPACE)
        asked, each = questions(put_digits(cluster)), arguments.canaries // LANES
        with ThreadPoolExecutor(LANES) as pool:
            lanes = [pool.submit(lane, stage, f"alike-{n}", asked, each) for n in range(1, LANES + 1)]
            for one in lanes:
                try:
                    ends += one.result()
                except AssertionError as error:
                    wrong.append(f"ended early: {error}")
    finally:
        choose(arguments.folder).down()
    false = sum(count for what, count in ends.items() if what.startswith("RolledBack"))
    print("\n".join(["", *(f"{count:4} {what}" for what, count in ends.most_common()), *wrong]))
    print(f"{false} of {ends.total()} healthy canaries were rolled back; at most {ALLOWED * arguments.canaries:.0f}")
    return 1 if wrong or false > ALLOWED * arguments.canaries else 0


if __name__ == "__main__":
    sys.exit(main())
