"""The parts of the one-node cluster: their command lines and configuration files, in the order of their start."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.controlplane import (
    APISERVER,
    CLIENT_LIMITS,
    CONTROLLER_MANAGER,
    ETCD,
    apiserver_flags,
    controller_manager_flags,
    etcd_command,
    kubeconfig,
)  # fmt: skip
from tests.cluster.pki import Authority
from tests.cluster.slot import Slot

NODE = "podium"
STORE_PORT, STORE_USER = 7070, "podium"
PAUSE = "localhost/podium/pause:dev"
CONTAINERD, KUBELET, PROXY, STORE = "containerd", "kubelet", "kube-proxy", "store"


@dataclass(frozen=True)
class Layout:
    """Where the parts of one cluster keep what they write: all below `folder`."""

    folder: Path
    slot: Slot
    authority: Authority

    @property
    def state(self) -> Path:
        """What is of no use once the cluster is down."""
        return self.folder / "state"

    @property
    def socket(self) -> Path:
        """containerd's."""
        return self.state / "containerd.sock"

    @property
    def url(self) -> str:
        """The API server's address, for the host and for pods alike."""
        return f"https://{self.slot.node}:6443"

    @property
    def store_url(self) -> str:
        """The S3 endpoint's address, for the host and for pods alike."""
        return f"http://{self.slot.node}:{STORE_PORT}"

    def file(self, name: str, content: str | dict[str, object]) -> Path:
        """Writes a configuration file."""
        path = self.state / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # JSON is YAML.
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        return path

    def program(self, component: str) -> Path:
        """A Kubernetes component of the multi-call binary."""
        return binaries.component(component, self.state / "bin")

    def kubeconfig(self, user: str, *groups: str) -> Path:
        """A kubeconfig file for a part."""
        return kubeconfig(self.authority, self.state / "kubeconfig", self.url, user, groups)


def etcd(layout: Layout) -> list[str | Path]:
    return etcd_command(layout.state / "etcd", "http://127.0.0.1:2379", "http://127.0.0.1:2380")


def kube_apiserver(layout: Layout) -> list[str | Path]:
    slot, authority = layout.slot, layout.authority
    hosts = (
        "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
        "localhost", "127.0.0.1", slot.kubernetes_service, slot.node,
    )  # fmt: skip
    to_kubelet = authority.issue("kubelet-client", "kube-apiserver-kubelet-client", groups=("system:masters",))
    front = authority.issue("front-proxy", "front-proxy-client")
    return [
        layout.program(APISERVER), *apiserver_flags(authority, layout.folder, "http://127.0.0.1:2379", hosts),
        "--secure-port=6443", "--bind-address=0.0.0.0", f"--advertise-address={slot.node}",
        f"--service-cluster-ip-range={slot.services}", "--authorization-mode=Node,RBAC",
        f"--kubelet-client-certificate={to_kubelet.certificate}", f"--kubelet-client-key={to_kubelet.key}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={authority.certificate}", "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={front.certificate}", f"--proxy-client-key-file={front.key}",
    ]  # fmt: skip


def kube_controller_manager(layout: Layout) -> list[str | Path]:
    authority = layout.authority
    return [
        layout.program(CONTROLLER_MANAGER),
        *controller_manager_flags(authority, layout.kubeconfig("system:kube-controller-manager")),
        f"--cluster-signing-cert-file={authority.certificate}", f"--cluster-signing-key-file={authority.key}",
        # Tests wait for autoscaling: it looks three times as often, and shrinks after seconds.
        "--horizontal-pod-autoscaler-sync-period=5s", "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
        "--horizontal-pod-autoscaler-downscale-stabilization=10s",
    ]  # fmt: skip


def kube_scheduler(layout: Layout) -> list[str | Path]:
    user = layout.kubeconfig("system:kube-scheduler")
    return [layout.program("kube-scheduler"), f"--kubeconfig={user}", f"--authentication-kubeconfig={user}",
            f"--authorization-kubeconfig={user}", "--leader-elect=false", *CLIENT_LIMITS]  # fmt: skip


def containerd(layout: Layout) -> list[str | Path]:
    state = layout.state
    (state / "etc" / "cni").mkdir(parents=True, exist_ok=True)
    # Routed pairs, not a bridge: there the answer to a ClusterIP of the same node would miss its way back, unless the
    # kernel has br_netfilter.
    addresses = {"type": "host-local", "dataDir": str(state / "cni"), "ranges": [[{"subnet": layout.slot.pods}]],
                 "routes": [{"dst": "0.0.0.0/0"}]}  # fmt: skip
    ptp = {"type": "ptp", "ipMasq": False, "mtu": 1500, "ipam": addresses}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    network = {"cniVersion": "0.4.0", "name": layout.slot.name, "plugins": [ptp, ports]}
    layout.file("cni/10-podium.conflist", dict(network))
    configuration = f"""\
version = 2
root = "{state}/containerd"
state = "{state}/run"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{layout.socket}"
[ttrpc]
  address = "{layout.socket}.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Without CAP_SYS_RESOURCE a sandbox could not be made otherwise.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "{state}/run/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state}/etc/cni"
"""
    return ["containerd", "--config", layout.file("containerd.toml", configuration)]


def kubelet(layout: Layout) -> list[str | Path]:
    state, authority = layout.state, layout.authority
    serving = authority.issue(
        "kubelet", f"system:node:{NODE}", groups=("system:nodes",), hosts=(NODE, layout.slot.node)
    )
    configuration: dict[str, object] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "failCgroupV1": False, "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{layout.slot.name}", "failSwapOn": False,
        "enforceNodeAllocatable": [], "oomScoreAdj": 0,
        "containerRuntimeEndpoint": f"unix://{layout.socket}",
        "clusterDNS": [layout.slot.node], "clusterDomain": "cluster.local",
        "resolvConf": str(layout.file("resolv.conf", f"nameserver {layout.slot.node}\n")),
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                           "x509": {"clientCAFile": str(authority.certificate)}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(serving.certificate), "tlsPrivateKeyFile": str(serving.key),
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        # Nothing could bring an image back that was collected.
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99, "serializeImagePulls": False,
        "maxPods": 250, "kubeAPIQPS": 500, "kubeAPIBurst": 1000, "eventRecordQPS": 0,
        "podLogsDir": str(layout.folder / "log" / "pods"), "volumePluginDir": str(state / "volume-plugins"),
    }  # fmt: skip
    user = layout.kubeconfig(f"system:node:{NODE}", "system:nodes")
    return [layout.program(KUBELET), f"--config={layout.file('kubelet.yaml', configuration)}",
            f"--kubeconfig={user}", f"--hostname-override={NODE}",
            f"--node-ip={layout.slot.node}", f"--root-dir={state / 'kubelet'}"]  # fmt: skip


def kube_proxy(layout: Layout) -> list[str | Path]:
    # What the conntrack settings would change belongs to the whole host: zeros leave it alone.
    configuration: dict[str, object] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "iptables",
        "clusterCIDR": layout.slot.pods, "oomScoreAdj": 0,
        "clientConnection": {"kubeconfig": str(layout.kubeconfig("system:kube-proxy"))},
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }  # fmt: skip
    return [
        layout.program(PROXY),
        f"--config={layout.file('proxy.yaml', configuration)}",
        f"--hostname-override={NODE}",
    ]


def coredns(layout: Layout) -> list[str | Path]:
    user = layout.kubeconfig("coredns", "system:masters")
    zones = f"""\
.:53 {{
  bind {layout.slot.node}
  errors
  ready {layout.slot.node}:8181
  kubernetes cluster.local in-addr.arpa ip6.arpa {{
    kubeconfig {user}
    ttl 5
  }}
  cache 5
}}
"""
    return [layout.program("coredns"), "-conf", layout.file("Corefile", zones)]


def metrics_server(layout: Layout) -> list[str | Path]:
    user = layout.kubeconfig("metrics-server", "system:masters")
    return [
        layout.program("metrics-server"), f"--kubeconfig={user}", f"--authentication-kubeconfig={user}",
        f"--authorization-kubeconfig={user}", f"--bind-address={layout.slot.node}", "--secure-port=4443",
        f"--cert-dir={layout.state / 'metrics-server'}", "--kubelet-insecure-tls",
        "--kubelet-preferred-address-types=InternalIP",
        # The second has to be shorter than the first.
        "--metric-resolution=10s", "--kubelet-request-timeout=5s",
    ]  # fmt: skip


def store(layout: Layout) -> list[str | Path]:
    (layout.folder / "store").mkdir(exist_ok=True)
    return [binaries.versitygw(), "--port", f"{layout.slot.node}:{STORE_PORT}", "--health", "/health", "--quiet",
            "--keep-alive", "posix", layout.folder / "store"]  # fmt: skip


PARTS: dict[str, Callable[[Layout], list[str | Path]]] = {
    ETCD: etcd, APISERVER: kube_apiserver, CONTROLLER_MANAGER: kube_controller_manager,
    "kube-scheduler": kube_scheduler, CONTAINERD: containerd, KUBELET: kubelet, PROXY: kube_proxy,
    "coredns": coredns, "metrics-server": metrics_server, STORE: store,
}  # fmt: skip


def metrics_api(slot: Slot) -> str:
    """The objects by which the API server finds metrics-server, which runs beside it and not in a pod."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics-server", "namespace": "kube-system"},
         "spec": {"ports": [{"port": 443, "targetPort": 4443}]}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
         "metadata": {"name": "metrics-server", "namespace": "kube-system",
                      "labels": {"kubernetes.io/service-name": "metrics-server"}},
         "endpoints": [{"addresses": [slot.node], "conditions": {"ready": True}}],
         "ports": [{"port": 4443, "protocol": "TCP"}]},
        {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
         "metadata": {"name": "v1beta1.metrics.k8s.io"},
         "spec": {"group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
                  "insecureSkipTLSVerify": True, "service": {"name": "metrics-server", "namespace": "kube-system"}}},
    ]})  # fmt: skip
