"""python -m tests.demo: exits with 0 if everything held that it shows, with 1 if anything did not."""

import argparse
import sys
import time
from pathlib import Path

import requests

from podium.api.names import GROUP
from podium.kube.resources import MODEL_DEPLOYMENTS, MODEL_RUNTIMES
from tests.client import Client, Refused
from tests.cluster import podium, typed
from tests.cluster.foreign import borrowed
from tests.cluster.progress import ClusterError
from tests.demo import acts
from tests.demo.show import Show
from tests.demo.terminal import BOLD, Terminal
from tests.stage import Stage, put_digits, put_torch_digits, start

LIMIT = 660
"""Seconds that the acts may take, once the cluster is built."""


def main() -> int:
    """Starts the cluster, plays the acts, prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=typed.DEFAULT_FOLDER, help="the cluster's folder (.cluster)")
    arguments = parser.parse_args()
    terminal = Terminal()
    terminal.title("A local cluster with Podium on it")
    try:
        cluster = start(arguments.folder)
        podium.make_demo_namespace(cluster)
        client = Client(cluster.kubeconfig_file)
        terminal.title("Models: handwritten digits, two versions each for onnxruntime and TorchServe")
        show = Show(Stage(cluster, client, podium.DEMO_NAMESPACE), terminal, put_digits(cluster),
                    put_torch_digits(cluster, client))  # fmt: skip
    except (ClusterError, AssertionError, Refused) as error:
        terminal.bad(str(error))
        return 1
    for name, models in (("onnxruntime", show.digits), ("TorchServe", show.torch)):
        shares = ", ".join(f"version {version} {share:.0%}" for version, share in sorted(models.accuracy.items()))
        terminal.output(
            f"{name}: reads {shares} of unseen images rightly; put into the S3 store {cluster.store.endpoint}"
        )
    return play(show)


def play(show: Show) -> int:
    """The acts, whatever becomes of them, and the table."""
    terminal = show.terminal
    acts.clear(show)
    began = time.monotonic()
    try:
        for act in acts.ACTS:
            raised = time.monotonic()
            act(show)
            terminal.output(f"This act took {time.monotonic() - raised:.0f} s.")
    except (
        AssertionError,
        TimeoutError,
        RuntimeError,
        ClusterError,
        Refused,
        requests.RequestException,
        OSError,
    ) as error:
        show.held("The demo itself", f"ended early: {str(error)[:600]}", False)
        why(show)
    finally:
        for name in list(show.loads):
            terminal.output(f"{name}: {show.ebb(name)}")
    took = time.monotonic() - began
    terminal.title("Shown in this run")
    show.held("All of it", f"{took:.0f} s", took <= LIMIT)
    terminal.line()
    terminal.table(show.rows)
    terminal.line()
    terminal.line(terminal.paint("Look around:", BOLD))
    for line in look_around(show.stage.cluster.kubeconfig_file, show.stage.namespace, show.manifests):
        terminal.output(line)
    terminal.line(terminal.paint("When you are done:", BOLD))
    for line in take_away(show.stage.namespace):
        terminal.output(line)
    return 0 if all(row.held for row in show.rows) else 1


def look_around(kubeconfig: Path, namespace: str, manifests: Path) -> list[str]:
    """Commands that work as they stand."""
    return [
        *typed.exports(kubeconfig),
        f"kubectl -n {namespace} get mdep,pods -o wide",
        f"kubectl -n {namespace} apply -f {manifests}/digits-1.yaml    # and the others there",
    ]


def take_away(namespace: str) -> list[str]:
    """Commands that leave nothing of the demo behind."""
    if not borrowed():
        return ["make cluster-down"]
    kinds = " ".join(f"{plural}.{GROUP}" for plural in (MODEL_DEPLOYMENTS.plural, MODEL_RUNTIMES.plural))
    return [
        f"kubectl delete namespace {namespace}",
        f"helm uninstall {podium.RELEASE} --namespace {podium.NAMESPACE}",
        f"kubectl delete namespace {podium.NAMESPACE}",
        f"kubectl delete crd {kinds}",
    ]


def why(show: Show) -> None:
    """What a person would look at after a failure."""
    for words in (("get", "mdep,pods", "-o", "wide"), ("get", "events", "--sort-by=.lastTimestamp")):
        try:
            show.kubectl(*words)
        except ClusterError as error:
            show.terminal.bad(str(error))


if __name__ == "__main__":
    sys.exit(main())
