"""What of the host one cluster takes: address ranges, devices, a network namespace, cgroups. And giving it all back."""

import fcntl
import hashlib
import ipaddress
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.cluster.processes import await_true
from tests.cluster.progress import ClusterError, run

# One file per cluster of this host, named by its number, that says in which folder it lives. Gone after a reboot, as
# are the processes, mounts and devices themselves.
REGISTRY = Path("/run/podium-clusters")
SLOTS = 60
CGROUPS = Path("/sys/fs/cgroup")
SHARES = {"cpu.shares": 8 * 1024, "cpu.weight": 8 * 100}
"""Of the CPU, for all of a cluster's pods: what eight processes beside it have. By default it is what one has, be there
thirty pods: with seven test processes at work, one that answers quickly was not asked in time whether it is ready."""
# kubelet sets these for the whole host.
_KUBELET_SETTINGS = (
    "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)  # fmt: skip


@dataclass(frozen=True)
class Slot:
    """The share of cluster `number`: no two clusters of a host have the same number."""

    number: int

    @property
    def name(self) -> str:
        """The name of the network namespace, the host's end of the veth pair, and the cgroup in every hierarchy."""
        return f"podium-{self.number}"

    @property
    def host(self) -> str:
        """The host's address, as pods see it."""
        return f"10.251.{self.number}.1"

    @property
    def gateway(self) -> str:
        """The cluster's end of the veth pair, as the host sees it."""
        return f"10.251.{self.number}.2"

    @property
    def node(self) -> str:
        """The node's address, reachable from the host and from pods."""
        return f"10.250.{self.number}.1"

    @property
    def pods(self) -> str:
        """The range of pod addresses."""
        return f"10.{120 + self.number}.0.0/17"

    @property
    def services(self) -> str:
        """The range of ClusterIPs."""
        return f"10.{120 + self.number}.128.0/17"

    @property
    def kubernetes_service(self) -> str:
        """The ClusterIP of the API server."""
        return f"10.{120 + self.number}.128.1"

    @property
    def namespace(self) -> Path:
        """The network namespace, as a file."""
        return Path("/run/netns", self.name)

    def inside(self, *command: str | Path) -> list[str | Path]:
        """The command, run in the cluster's network namespace. (Not `ip netns exec`: that mounts another /sys.)"""
        return ["nsenter", f"--net={self.namespace}", *command]


@contextmanager
def _registry() -> Iterator[dict[int, Path]]:
    REGISTRY.mkdir(exist_ok=True)
    with open(REGISTRY / "lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield {int(file.name): Path(file.read_text()) for file in REGISTRY.glob("[0-9]*")}


def find(folder: Path) -> Slot | None:
    """The slot that the cluster in `folder` has taken, if it has."""
    if not REGISTRY.exists():
        return None
    with _registry() as taken:
        return next((Slot(number) for number, owner in taken.items() if owner == folder), None)


def take(folder: Path) -> Slot:
    """Takes a slot for the cluster in `folder`: the one its path hashes to, or the next whose ranges are free."""
    first = int(hashlib.sha256(str(folder).encode()).hexdigest(), 16) % SLOTS
    with _registry() as taken:
        for number in ((first + step) % SLOTS for step in range(SLOTS)):
            slot = Slot(number)
            if number not in taken and not _routed(slot):
                if not taken:
                    # What is given back when the last cluster of the host goes.
                    values = {name: Path("/proc/sys", name).read_text().strip() for name in _KUBELET_SETTINGS}
                    (REGISTRY / "settings.json").write_text(json.dumps(values))
                (REGISTRY / str(number)).write_text(str(folder))
                return slot
    raise ClusterError(f"all {SLOTS} address ranges are taken or routed elsewhere; see {REGISTRY} and `ip route`")


def _routed(slot: Slot) -> bool:
    """Whether the host has a route of its own into the slot's ranges; a very wide one does not count."""
    ours = (slot.pods, slot.services, f"{slot.node}/32", f"{slot.host}/30")
    wanted = [ipaddress.ip_network(text, strict=False) for text in ours]
    for route in json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"]) or "[]"):
        if route["dst"] != "default":
            known = ipaddress.ip_network(route["dst"], strict=False)
            if known.prefixlen > 8 and any(known.overlaps(range_) for range_ in wanted):
                return True
    return False


def connect(slot: Slot) -> None:
    """Makes the network namespace, the veth pair and the routes of both sides."""
    peer, inside = f"{slot.name}-in", ("ip", "-netns", slot.name)
    run(["ip", "netns", "add", slot.name])
    run([*inside, "link", "set", "lo", "up"])
    run(["ip", "link", "add", slot.name, "type", "veth", "peer", "name", peer, "netns", slot.name])
    run(["ip", "address", "add", f"{slot.host}/30", "dev", slot.name])
    run(["ip", "link", "set", slot.name, "up"])
    run([*inside, "address", "add", f"{slot.gateway}/30", "dev", peer])
    run([*inside, "link", "set", peer, "up"])
    run([*inside, "route", "add", "default", "via", slot.host])
    # The node's address sits on a bridge without ports: a device of type dummy is missing in some kernels.
    run([*inside, "link", "add", "node", "type", "bridge"])
    run([*inside, "address", "add", f"{slot.node}/32", "dev", "node"])
    run([*inside, "link", "set", "node", "up"])
    for destination in (f"{slot.node}/32", slot.pods, slot.services):
        run(["ip", "route", "add", destination, "via", slot.gateway, "dev", slot.name])
    run(slot.inside("sysctl", "-q", "-w", "net.ipv4.ip_forward=1"))


def hierarchies() -> list[Path]:
    """The cgroup hierarchies of this host: one in version 2, one per controller (and a nameless one) in version 1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    # `cpu` and `cpuacct` are often two names of one: links are left out.
    return [
        folder for folder in sorted(CGROUPS.iterdir()) if (folder / "cgroup.procs").exists() and not folder.is_symlink()
    ]


def make_cgroups(slot: Slot) -> None:
    """Makes the cluster's cgroup in every hierarchy: kubelet would else remove the pods of another kubelet."""
    for hierarchy in hierarchies():
        group = hierarchy / slot.name
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / setting).exists() and not (hierarchy / "cgroup.controllers").exists():
                (group / setting).write_text((hierarchy / setting).read_text())
        if hierarchy == CGROUPS:
            enabled = (CGROUPS / "cgroup.controllers").read_text().split()
            for parent in (CGROUPS, group):
                (parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in enabled))
        for setting, share in SHARES.items():
            if (group / setting).exists():
                (group / setting).write_text(str(share))


def kill_containers(slot: Slot) -> None:
    """Kills whatever runs in the cluster's cgroups, in every hierarchy, until nothing does."""

    def killed_all() -> bool:
        pids = _members(slot)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not pids

    if not await_true(killed_all, 20):
        raise ClusterError(f"processes {sorted(_members(slot))} in the cgroup {slot.name} do not end")


def _members(slot: Slot) -> set[int]:
    found: set[int] = set()
    for hierarchy in hierarchies():
        for group in _groups(hierarchy / slot.name):
            with suppress(OSError):
                found.update(int(line) for line in (group / "cgroup.procs").read_text().split())
    return found


def remove_cgroups(slot: Slot) -> None:
    """Removes the cluster's cgroups, which have to be empty."""
    for hierarchy in hierarchies():
        for group in _groups(hierarchy / slot.name):
            # A killed process leaves its cgroup only some moments later.
            if not await_true(partial(_removed, group), 60):
                raise ClusterError(f"the cgroup {group} cannot be removed; its cgroup.procs says who is in it")


def _groups(top: Path) -> list[Path]:
    """A cgroup and all below it, innermost first. They may vanish meanwhile, which os.walk bears."""
    return [Path(folder) for folder, _, _ in os.walk(top, topdown=False)]


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def disconnect(slot: Slot) -> None:
    """Removes the namespace with its devices and chains, and the host's end of the veth pair with its routes."""
    if Path("/sys/class/net", slot.name).exists():
        run(["ip", "link", "delete", slot.name])
    if slot.namespace.exists():
        run(["ip", "netns", "delete", slot.name])


def mounts_below(folder: Path) -> list[str]:
    """The mount points at or below a folder, innermost last."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return [point for point in points if Path(point).is_relative_to(folder)]


def unmount_below(folder: Path) -> None:
    """Unmounts everything below a folder."""
    for point in reversed(mounts_below(folder)):
        run(["umount", "--lazy", "--no-canonicalize", point])
    if mounts_below(folder):
        raise ClusterError(f"{mounts_below(folder)} cannot be unmounted")


def give_back(slot: Slot) -> None:
    """Gives the slot back. The last cluster of the host restores the settings that kubelet changed."""
    with _registry() as taken:
        taken.pop(slot.number, None)
        (REGISTRY / str(slot.number)).unlink(missing_ok=True)
        if not taken:
            saved = REGISTRY / "settings.json"
            if saved.exists():
                for name, value in json.loads(saved.read_text()).items():
                    if Path("/proc/sys", name).read_text().strip() != value:
                        Path("/proc/sys", name).write_text(value)
                saved.unlink()
            _remove_kubelet_socket()


def _remove_kubelet_socket() -> None:
    """Where kubelet listens for device plugins is the same for all kubelets, whatever their folder."""
    endpoint = Path("/var/lib/kubelet/device-plugins/kubelet.sock")
    if endpoint.exists() and not _listens(endpoint):
        endpoint.unlink()
    for folder in (*endpoint.parents[:2], Path("/var/log/containers"), Path("/run/containerd/s")):
        # Empty: nobody's, or its owner makes it again.
        with suppress(OSError):
            folder.rmdir()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
