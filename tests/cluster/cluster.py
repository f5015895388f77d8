"""A cluster of one node made of upstream parts, as root, without Docker: up, down, status, and what tests ask of it."""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from tests.cluster import binaries, images, node, slot, typed
from tests.cluster.controlplane import APISERVER, ETCD, kubeconfig
from tests.cluster.node import CONTAINERD, KUBELET, PARTS, STORE, Layout
from tests.cluster.pki import Authority
from tests.cluster.processes import Processes, await_true
from tests.cluster.progress import ClusterError, run, say, step, tail
from tests.cluster.slot import Slot
from tests.cluster.store import BUCKET, Store

# A socket's path may be 107 bytes long, and kubelet puts some below the folder.
LONGEST_FOLDER = 55
ROOMY = {"GOGC": "400", "GOMEMLIMIT": "1GiB"}
"""Of Go's collector: cores are scarcer than memory here."""
# Traces outside the folder: links that kubelet makes, and results that the CNI library keeps.
_POD_LOG_LINKS = Path("/var/log/containers")
_CNI_RESULTS = Path("/var/lib/cni")


class Cluster:
    """The cluster of `folder`. Several may run on a host: each has its own addresses, devices and cgroups."""

    on_this_host = True
    """Whether its audit log, its node's files and its pods' processes are at hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        if len(str(self.folder)) > LONGEST_FOLDER:
            raise ClusterError(
                f"the path {self.folder} is longer than {LONGEST_FOLDER} letters, too long for sockets below it"
            )
        self.kubeconfig_file = self.folder / "kubeconfig"
        self.audit_log = self.folder / "log" / "audit.json"

    @property
    def slot(self) -> Slot:
        """What of the host it has taken; ClusterError if it does not run."""
        found = slot.find(self.folder)
        if found is None:
            raise ClusterError(f"no cluster runs in {self.folder}; `{typed.start(self.folder)}` starts one")
        return found

    @property
    def layout(self) -> Layout:
        """Its addresses and files."""
        return Layout(self.folder, self.slot, Authority(self.folder / "state" / "pki"))

    @property
    def processes(self) -> Processes:
        """Its parts, by the names in node.PARTS."""
        return Processes(self.folder, f"cluster {self.folder}", outlive=True)

    @property
    def store(self) -> Store:
        """Its model store."""
        return Store.of(self.folder)

    def kubeconfig(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig file with a client certificate for any user."""
        return kubeconfig(self.layout.authority, self.folder / "users", self.layout.url, user, groups)

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Runs kubectl as admin; returns what it prints."""
        return run([binaries.kubectl(), f"--kubeconfig={self.kubeconfig_file}", *words], stdin=stdin)

    def running(self) -> bool:
        """Whether its start was finished and all its parts live."""
        return (self.folder / "started").exists() and set(self.processes.names()) >= set(PARTS)

    def taken(self) -> bool:
        """Whether something of it is there: it runs, or a start or an end of it was broken off."""
        return slot.find(self.folder) is not None or (self.folder / "state").exists() or bool(self.processes.names())

    def build_images(self, names: Sequence[str] = ()) -> list[images.Archive]:
        """Podium's images as they are in the tree, built if they changed."""
        return images.build(names)

    def registry(self) -> str:
        """The registry in the names of those images."""
        return "localhost"

    def up(self) -> None:
        """Starts it, if it does not run; what a killed or crashed start left is cleaned first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if self.running():
                say(f"The cluster in {self.folder} runs.")
                return
            if self.taken():
                with step("Cleaning up after a start that did not finish, or a cluster that broke"):
                    self._clean()
            binaries.apt(binaries.CONTROL_PLANE_PACKAGES | binaries.NODE_PACKAGES)
            for program in (binaries.kube, binaries.versitygw, binaries.kubectl):
                program()
            pause = images.build(["pause"])
            with step("Starting the cluster", "10 s"):
                self._start(pause)
            (self.folder / "started").touch()

    def down(self) -> None:
        """Ends it, whatever state it is in, and removes all it took of the host; log.before and lock stay."""
        if not self.folder.exists() and not self.taken():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone(), step("Stopping the cluster", "3 s"):
            self._clean()

    def reboot(self) -> None:
        """Everything of it dies at once, as in a loss of power, and starts again from what is on its disk.

        What a reboot leaves nothing of is gone: processes, containers, mounts, network devices and /run.
        """
        with self._alone(), step("Restarting the whole cluster", "15 s"):
            (self.folder / "started").unlink(missing_ok=True)
            self._kill(self.slot)
            shutil.rmtree(self.folder / "state" / "run")
            slot.disconnect(self.slot)
            slot.connect(self.slot)
            self._run()
            (self.folder / "started").touch()

    @contextmanager
    def without_api_server(self) -> Iterator[None]:
        """Meanwhile the API server is down, as in a crash, and all else goes on. It answers again when this ends."""
        self.processes.kill(APISERVER)
        try:
            yield
        finally:
            self._begin(APISERVER)
            self._await(APISERVER, lambda: self._says_ready("get", "--raw=/readyz"))

    def load(self, archives: Sequence[images.Archive]) -> None:
        """Brings images to the node, if they changed since they were brought there."""
        known = self.folder / "state" / "images"
        known.mkdir(parents=True, exist_ok=True)
        for archive in archives:
            mark = known / archive.image.name
            if not mark.exists() or mark.read_text() != archive.key:
                with step(f"Loading {archive.image.reference}", "5 s"):
                    self.ctr("images", "import", str(archive.path))
                mark.write_text(archive.key)

    def ctr(self, *words: str) -> str:
        """Runs containerd's command line in kubelet's namespace of it."""
        return run(["ctr", "--address", self.layout.socket, "--namespace", "k8s.io", *words])

    def status(self) -> list[str]:
        """Lines for a person: what runs and where."""
        found = slot.find(self.folder)
        if found is None:
            return [f"no cluster in {self.folder}"]
        alive = self.processes.names()
        lines = [f"{part:24} {'runs' if part in alive else 'does NOT run'}" for part in PARTS]
        facts = {"API server": self.layout.url, "kubeconfig": self.kubeconfig_file,
                 "kubectl and helm": binaries.kubectl().parent, "audit log": self.audit_log, "pods": found.pods,
                 "services": found.services, "model store": self.store.endpoint}  # fmt: skip
        return [*lines, *(f"{name:24} {fact}" for name, fact in facts.items())]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with open(self.folder / "lock", "w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    def _start(self, pause: Sequence[images.Archive]) -> None:
        slot.connect(slot.take(self.folder))
        slot.make_cgroups(self.slot)
        self._run(pause)

    def _begin(self, part: str, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        layout = self.layout
        command = layout.slot.inside(*PARTS[part](layout))
        self.processes.start(part, command, {**ROOMY, **environment})

    def _run(self, pause: Sequence[images.Archive] = ()) -> None:
        """Starts all parts in the network that is there, and waits until they are ready."""
        layout, processes = self.layout, self.processes
        store = Store.of(self.folder, layout.store_url)
        (self.folder / "store" / BUCKET).mkdir(parents=True, exist_ok=True)
        credentials = {"ROOT_ACCESS_KEY_ID": store.access_key, "ROOT_SECRET_ACCESS_KEY": store.secret_key}
        for part in (ETCD, CONTAINERD, APISERVER, STORE):
            self._begin(part, credentials if part == STORE else {})
        admin = kubeconfig(layout.authority, self.folder / "users", layout.url, "admin", ("system:masters",))
        shutil.copy(admin, self.kubeconfig_file)
        self.kubeconfig_file.chmod(0o600)
        self._await(APISERVER, lambda: self._says_ready("get", "--raw=/readyz"))
        self._await(CONTAINERD, lambda: self._succeeds(lambda: self.ctr("version")))
        self.load(pause)
        for part in PARTS:
            if not processes.alive(part):
                self._begin(part)
        self.kubectl("apply", "-f", "-", stdin=node.metrics_api(layout.slot))
        self._await(KUBELET, self._node_ready)
        self._await(
            "coredns", lambda: self._succeeds(lambda: run(["curl", "-sf", f"http://{layout.slot.node}:8181/ready"]))
        )
        for part in PARTS:
            processes.require(part)

    def _await(self, part: str, condition: Callable[[], bool], seconds: float = 60) -> None:
        def holds() -> bool:
            self.processes.require(part)
            return condition()

        if not await_true(holds, seconds, every=0.1):
            raise ClusterError(f"{part} is not ready after {seconds:.0f} s; {tail(self.processes.log(part))}")

    def _succeeds(self, action: Callable[[], object]) -> bool:
        try:
            action()
        except ClusterError:
            return False
        return True

    def _says_ready(self, *words: str) -> bool:
        return self._succeeds(lambda: self.kubectl("--request-timeout=2s", *words))

    def _node_ready(self) -> bool:
        nodes = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]
        conditions = [condition for item in nodes for condition in item["status"].get("conditions", [])]
        return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)

    def _clean(self) -> None:
        """First who would restart containers, then containers, then the rest, then what held them.

        Everything is killed, since nothing of it is kept; so the same way serves for a whole cluster and half a one.
        """
        taken = slot.find(self.folder)
        (self.folder / "started").unlink(missing_ok=True)
        self._kill(taken)
        if taken is not None:
            slot.remove_cgroups(taken)
            slot.disconnect(taken)
            self._remove_outer_traces(taken)
        for name in ("state", "pid", "users", "store", "demo", "log.before"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        if (self.folder / "log").exists():
            (self.folder / "log").rename(self.folder / "log.before")
        for name in ("kubeconfig", "store.json", "values.json", "audit-policy.yaml"):
            (self.folder / name).unlink(missing_ok=True)
        if taken is not None:
            slot.give_back(taken)

    def _kill(self, taken: Slot | None) -> None:
        """Ends all its processes and containers, and unmounts what they had."""
        processes = self.processes
        for part in (KUBELET, node.PROXY, "kube-scheduler", "kube-controller-manager"):
            processes.kill(part)
        if taken is not None:
            slot.kill_containers(taken)
        sockets = self.shim_sockets()
        processes.kill(CONTAINERD)
        processes.kill(APISERVER)
        # Shims were started by containerd and inherit its mark, as does whatever no file tells of.
        processes.kill_marked()
        if taken is not None:
            slot.kill_containers(taken)
        slot.unmount_below(self.folder)
        for socket in sockets:
            socket.unlink(missing_ok=True)

    def shim_sockets(self) -> list[Path]:
        """The sockets of its containers' minders: they are not below its folder."""
        addresses = (self.folder / "state" / "run").glob("io.containerd.runtime.v2.task/*/*/address")
        return [Path(file.read_text().removeprefix("unix://")) for file in addresses]

    def _remove_outer_traces(self, taken: Slot) -> None:
        if _POD_LOG_LINKS.exists():
            for link in _POD_LOG_LINKS.iterdir():
                if link.is_symlink() and link.readlink().is_relative_to(self.folder):
                    link.unlink()
        for result in _CNI_RESULTS.glob(f"*/{taken.name}-*"):
            result.unlink()
