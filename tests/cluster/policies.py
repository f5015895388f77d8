"""What makes NetworkPolicies hold on the local cluster, for as long as a test needs it: the firewall of kube-router.

The cluster's own network plugin enforces none. kube-router is no part of every cluster: whenever any pod comes or goes
it writes the node's whole table `filter` anew, kube-proxy's chains included, and it drops what conntrack calls invalid
of every pod. Pods that no policy selects it lets through as before.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.cluster import ROOMY, Cluster
from tests.cluster.node import NODE, Layout
from tests.cluster.processes import await_true
from tests.cluster.progress import ClusterError, run, tail
from tests.cluster.slot import Slot

FIREWALL = "kube-router"
CHAINS = ("KUBE-ROUTER-", "KUBE-POD-FW-", "KUBE-NWPLCY-")
"""How the names of its chains begin."""
_JUMP = re.compile(r"-A (INPUT|FORWARD|OUTPUT) .*-j KUBE-ROUTER-")
_STARTS_WITHIN = 60


@contextmanager
def enforced(cluster: Cluster) -> Iterator[None]:
    """Meanwhile NetworkPolicies hold: those that exist when this begins at once, each change a moment after it is made.

    Connections that stand go on, whatever a policy says of them: kube-router judges new ones alone. One at a time.
    """
    binaries.apt(binaries.POLICY_PACKAGES)
    layout, processes = cluster.layout, cluster.processes
    end(cluster)  # what a killed test left on a cluster that is kept
    processes.start(FIREWALL, layout.slot.inside(*command_line(layout)), ROOMY)
    try:
        if not await_true(lambda: judges(cluster), _STARTS_WITHIN, every=0.1):
            raise ClusterError(f"{FIREWALL} does not judge any pod; {tail(processes.log(FIREWALL))}")
        yield
        processes.require(FIREWALL)
    finally:
        end(cluster)


def command_line(layout: Layout) -> list[str | Path]:
    """Its command line: the firewall, and neither its routes nor its proxy."""
    return [
        binaries.kube_router(), "--run-firewall=true", "--run-router=false", "--run-service-proxy=false",
        f"--kubeconfig={layout.kubeconfig('kube-router', 'system:masters')}", f"--hostname-override={NODE}",
        f"--service-cluster-ip-range={layout.slot.services}", "--health-port=0",
    ]  # fmt: skip


def judges(cluster: Cluster) -> bool:
    """Whether it has written its rules for the node's pods; ClusterError if it has ended."""
    cluster.processes.require(FIREWALL)
    return "KUBE-POD-FW-" in _filter(cluster.slot)


def end(cluster: Cluster) -> None:
    """Ends it, and takes its chains and sets away; what is not there is no obstacle."""
    cluster.processes.stop(FIREWALL)
    slot = cluster.slot
    # By hand: `kube-router --cleanup-config` (2.1.0) panics, and leaves all of them.
    lines = _filter(slot).splitlines()
    chains = [line[1:].split()[0] for line in lines if line.startswith(tuple(f":{name}" for name in CHAINS))]
    jumps = [line.replace("-A", "-D", 1) for line in lines if _JUMP.match(line)]
    if chains:
        changes = [*(f":{name} - [0:0]" for name in chains), *jumps, *(f"-X {name}" for name in chains)]
        run(slot.inside("iptables-restore", "--noflush"), stdin="\n".join(["*filter", *changes, "COMMIT\n"]))
    # The kernel lets go of a set a moment after the last rule that names it.
    if not await_true(lambda: _without_sets(slot), 10):
        raise ClusterError(f"the sets of {FIREWALL} cannot be removed: {run(slot.inside('ipset', 'list', '-name'))}")


def _filter(slot: Slot) -> str:
    return run(slot.inside("iptables-save", "--table", "filter"))


def _without_sets(slot: Slot) -> bool:
    try:
        run(slot.inside("ipset", "destroy"))
    except ClusterError:
        return False
    return True
