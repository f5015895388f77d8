"""etcd and kube-apiserver on loopback, for tests that need no node: no root, no network namespace, up in seconds."""

import base64
import json
import os
import signal
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster import binaries
from tests.cluster.pki import Authority
from tests.cluster.ports import reserve
from tests.cluster.processes import Guard, Processes, await_true
from tests.cluster.progress import ClusterError, run, tail

ETCD, APISERVER, CONTROLLER_MANAGER = "etcd", "kube-apiserver", "kube-controller-manager"
SERVICE_RANGE = "10.0.0.0/16"
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""
ROOMY = {"GOGC": "800", "GOMEMLIMIT": "3GiB"}
"""Of Go's collector: memory is plenty and cores are few (a quarter of the API server's CPU in runs by the dozen)."""
# A controller-manager with the default limit of 20 calls a second would hide what is measured or waited for.
CLIENT_LIMITS = ("--kube-api-qps=500", "--kube-api-burst=1000")


class ControlPlane:
    """A Kubernetes API without nodes, kept in `folder`. Use it as a context manager.

    `controllers` are the controllers that kube-controller-manager is to run (names as in its `--controllers`, for
    instance "deployment-controller"); with none it is not started. `apiserver` is another kube-apiserver than
    the local cluster's, `apiserver_flags` are added to its command line, and win.

    The API server audits every request to `audit_log`, a JSON object a line, with user and user agent. Without the
    controller "serviceaccount-controller" pods need no ServiceAccount. Whatever else is a controller's work is left
    undone too, unless it is named: deleted namespaces stay Terminating, owned objects stay, the roles view and edit are
    empty.
    """

    def __init__(
        self,
        folder: Path,
        *,
        controllers: Sequence[str] = (),
        apiserver: Path | None = None,
        apiserver_flags: Sequence[str] = (),
        controller_manager_flags: Sequence[str] = (),
    ) -> None:
        self.folder = folder.resolve()
        self.controllers = tuple(controllers)
        self.processes = Processes(self.folder, f"control-plane {self.folder}")
        self.authority = Authority(self.folder / "pki")
        self.ca = self.authority.certificate
        self.audit_log = self.folder / "log" / "audit.json"
        self._apiserver = apiserver
        self._apiserver_flags = tuple(apiserver_flags)
        self._controller_manager_flags = tuple(controller_manager_flags)
        self._etcd_port, self._etcd_peer_port, self._port, self._controllers_port = reserve(4)
        self.url = f"https://127.0.0.1:{self._port}"
        self._guard: Guard | None = None
        self._context: ssl.SSLContext | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the processes, in the order of their start."""
        return (ETCD, APISERVER) + ((CONTROLLER_MANAGER,) if self.controllers else ())

    def __enter__(self) -> Self:
        binaries.apt(binaries.CONTROL_PLANE_PACKAGES)
        try:
            for part in self.parts:
                self.start(part)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all parts; what they wrote stays in the folder."""
        # The API server first: without etcd it would take a minute to end.
        for part in reversed(self.parts):
            self.processes.kill(part)
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def start(self, part: str, *, wait: bool = True) -> None:
        """Starts a part (again, with the same data and address) and by default waits until it serves."""
        self.processes.start(part, self._command(part), ROOMY)
        self._tell_guard()
        if wait:
            self.wait(part)

    def wait(self, part: str, seconds: float = 60) -> None:
        """Waits until a part serves; raises ClusterError with the end of its log if it does not."""

        def serves() -> bool:
            self.processes.require(part)
            return self._serves(part)

        if not await_true(serves, seconds, every=0.05):
            raise ClusterError(f"{part} is not ready after {seconds} s; {tail(self.processes.log(part))}")

    def stop(self, part: str) -> None:
        """Ends a part as a shutdown does."""
        self.processes.stop(part)
        self._tell_guard()

    def kill(self, part: str) -> None:
        """Ends a part as a crash does."""
        self.processes.kill(part)
        self._tell_guard()

    def pause(self, part: str) -> None:
        """Freezes a part (SIGSTOP): connections stay open and nothing is answered."""
        self.processes.signal(part, signal.SIGSTOP)

    def resume(self, part: str) -> None:
        """Lets a frozen part go on (SIGCONT)."""
        self.processes.signal(part, signal.SIGCONT)

    def kubeconfig(self, user: str = "admin", groups: Sequence[str] | None = None, *, url: str | None = None) -> Path:
        """A kubeconfig file with a client certificate for `user`, who may do what RBAC allows `user` and `groups`.

        By default "admin" is in the group system:masters, everybody else in no group. `url` is another way to the API
        server, for instance through a proxy on 127.0.0.1.
        """
        if groups is None:
            groups = ("system:masters",) if user == "admin" else ()
        return kubeconfig(self.authority, self.folder / "kubeconfig", url or self.url, user, groups)

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Runs kubectl as admin; returns what it prints."""
        return run([binaries.kubectl(), f"--kubeconfig={self.kubeconfig()}", *words], stdin=stdin)

    def install_crds(self, folder: Path) -> None:
        """Applies the CRDs of a folder; returns once all that there are can be used."""
        self.kubectl("apply", "--server-side", "-f", str(folder))

        def established() -> bool:
            crds = json.loads(self.kubectl("get", "crd", "-o", "json"))["items"]
            said = [crd.get("status", {}).get("conditions") or [] for crd in crds]
            return all(any((c["type"], c["status"]) == ("Established", "True") for c in each) for each in said)

        # `kubectl wait` fails at once where a new CRD has no conditions yet.
        if not await_true(established, 30, every=0.1):
            raise ClusterError(f"the CRDs of {folder} are not established after 30 s")

    def audit(self) -> list[dict[str, Any]]:
        """The audited requests so far (audit.k8s.io/v1 Events), oldest first."""
        # A last line without its end is still being written.
        lines = self.audit_log.read_text().splitlines(keepends=True) if self.audit_log.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def _command(self, part: str) -> list[str | Path]:
        return {ETCD: self._etcd, APISERVER: self._kube_apiserver, CONTROLLER_MANAGER: self._kube_controller_manager}[
            part
        ]()

    def _etcd(self) -> list[str | Path]:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._etcd_peer_port))
        return etcd_command(self.folder / "etcd", client, peer)

    def _kube_apiserver(self) -> list[str | Path]:
        pki, hosts = self.authority, ("localhost", "127.0.0.1", "kubernetes.default.svc", "10.0.0.1")
        off = [] if "serviceaccount-controller" in self.controllers else ["--disable-admission-plugins=ServiceAccount"]
        return [
            self._apiserver or binaries.component(APISERVER, self.folder / "bin"),
            *apiserver_flags(pki, self.folder, f"http://127.0.0.1:{self._etcd_port}", hosts),
            f"--secure-port={self._port}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none", f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--authorization-mode=RBAC", *off, *self._apiserver_flags,
        ]  # fmt: skip

    def _kube_controller_manager(self) -> list[str | Path]:
        user = "system:kube-controller-manager"
        return [
            binaries.component(CONTROLLER_MANAGER, self.folder / "bin"),
            *controller_manager_flags(self.authority, self.kubeconfig(user)),
            f"--secure-port={self._controllers_port}", "--bind-address=127.0.0.1",
            f"--controllers={','.join(self.controllers)}", *self._controller_manager_flags,
        ]  # fmt: skip

    def _serves(self, part: str) -> bool:
        if part == ETCD:
            return answers(f"http://127.0.0.1:{self._etcd_port}/health")
        if part == APISERVER:
            # Asked as admin: an anonymous caller is let in only after the default roles were written.
            return answers(f"{self.url}/readyz", self._client())
        return answers(f"https://127.0.0.1:{self._controllers_port}/healthz", _unverified())

    def _client(self) -> ssl.SSLContext:
        if self._context is None:
            pair = self.authority.issue("readiness", "admin", groups=("system:masters",))
            self._context = ssl.create_default_context(cafile=str(self.ca))
            self._context.load_cert_chain(pair.certificate, pair.key)
        return self._context

    def _tell_guard(self) -> None:
        if self._guard is None:
            self._guard = Guard()
        self._guard.tell(self.processes)


def etcd_command(data: Path, client_url: str, peer_url: str) -> list[str | Path]:
    """etcd for data that may be lost."""
    # etcd 3.4 reads flags from the environment too: none of a host's may reach it.
    return [
        "env", *(f"--unset={name}" for name in os.environ if name.startswith("ETCD_")), "etcd", "--data-dir", data,
        "--listen-client-urls", client_url, "--advertise-client-urls", client_url, "--listen-peer-urls", peer_url,
        "--initial-advertise-peer-urls", peer_url, "--initial-cluster", f"default={peer_url}",
        "--unsafe-no-fsync", "--quota-backend-bytes", str(4 * 1024**3), "--auto-compaction-retention", "1",
    ]  # fmt: skip


def apiserver_flags(authority: Authority, folder: Path, etcd: str, hosts: Sequence[str]) -> list[str]:
    """What every kube-apiserver of ours is told: keys, audit of all requests, no limit that a test would run into."""
    serving = authority.issue("apiserver", "kube-apiserver", hosts=hosts)
    service_accounts = authority.signing_key("service-accounts")
    policy = folder / "audit-policy.yaml"
    policy.write_text(AUDIT_POLICY)
    return [
        f"--etcd-servers={etcd}", f"--client-ca-file={authority.certificate}",
        f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.key}",
        f"--service-account-key-file={service_accounts.certificate}",
        f"--service-account-signing-key-file={service_accounts.key}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--allow-privileged=true", "--enable-admission-plugins=OwnerReferencesPermissionEnforcement,NodeRestriction",
        f"--audit-policy-file={policy}", f"--audit-log-path={folder / 'log' / 'audit.json'}",
        "--audit-log-maxsize=10000", "--max-requests-inflight=3000",
        "--max-mutating-requests-inflight=2000", "--profiling=false",
    ]  # fmt: skip


def controller_manager_flags(authority: Authority, kubeconfig_file: Path) -> list[str]:
    """What every kube-controller-manager of ours is told."""
    return [
        f"--kubeconfig={kubeconfig_file}", f"--authentication-kubeconfig={kubeconfig_file}",
        f"--authorization-kubeconfig={kubeconfig_file}", "--leader-elect=false", "--use-service-account-credentials",
        f"--service-account-private-key-file={authority.signing_key('service-accounts').key}",
        f"--root-ca-file={authority.certificate}", *CLIENT_LIMITS,
    ]  # fmt: skip


def kubeconfig(authority: Authority, folder: Path, url: str, user: str, groups: Sequence[str]) -> Path:
    """Writes a kubeconfig file that holds all it needs: it may be copied anywhere."""
    name = "".join(letter if letter.isalnum() else "-" for letter in "_".join([user, *groups]))
    pair = authority.issue(f"client-{name}", user, groups=groups)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{url.rpartition(':')[2]}"
    if not file.exists():
        trust = _data("certificate-authority", authority.certificate)
        identity = _data("client-certificate", pair.certificate) | _data("client-key", pair.key)
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "podium", "cluster": {"server": url, **trust}}],
            "users": [{"name": user, "user": identity}],
            "contexts": [{"name": "podium", "context": {"cluster": "podium", "user": user}}],
            "current-context": "podium",
        }
        unfinished = file.with_name(f".{file.name}.{os.getpid()}")
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(content, indent=1))
        unfinished.rename(file)
    return file


def _data(name: str, file: Path) -> dict[str, str]:
    return {f"{name}-data": base64.b64encode(file.read_bytes()).decode()}


def answers(url: str, context: ssl.SSLContext | None = None) -> bool:
    """Whether a GET is answered by 200 within 2 s."""
    try:
        with urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        ).open(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
