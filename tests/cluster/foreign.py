"""Clusters that somebody else made: the one of the current context, or kind and k3d on a Docker daemon."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import binaries, images, typed
from tests.cluster.cluster import Cluster
from tests.cluster.processes import await_true
from tests.cluster.progress import ClusterError, run, say, step
from tests.cluster.store import BUCKET, Store

CONTEXT_VARIABLE = "PODIUM_USE_CURRENT_CONTEXT"
REGISTRY_VARIABLE = "PODIUM_IMAGE_REGISTRY"
BUCKET_VARIABLE = "PODIUM_BUCKET"
STORE_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", BUCKET_VARIABLE)
STORE_PORT = 7070


def borrowed() -> bool:
    """Whether the current context is to be used."""
    return os.environ.get(CONTEXT_VARIABLE) == "1"


def localized(manifest: str) -> str:
    """A manifest or URI of this tree, with the image registry and the bucket of the cluster that is used."""
    if not borrowed():
        return manifest
    registry, bucket = os.environ.get(REGISTRY_VARIABLE, ""), os.environ.get(BUCKET_VARIABLE, BUCKET)
    return manifest.replace(images.REPOSITORY_PREFIX, f"{registry}/podium").replace(
        f"s3://{BUCKET}/", f"s3://{bucket}/"
    )


class Borrowed(Cluster):
    """The cluster of the current context: nothing is started or ended, and images come from a registry it can reach."""

    on_this_host = False

    def up(self) -> None:
        """Takes over the current context, and the store that the variables AWS_* name."""
        missing = [name for name in (*STORE_VARIABLES, REGISTRY_VARIABLE) if not os.environ.get(name)]
        if missing:
            raise ClusterError(
                f"the current context needs a model store and images: set {', '.join(missing)} (docs/local-cluster.md)"
            )
        if Cluster(self.folder).taken():
            raise ClusterError(
                f"a cluster of our own runs in {self.folder}, and its files would be lost: end it "
                f"(`{typed.module('tests.cluster', 'down', folder=self.folder)}`, without {CONTEXT_VARIABLE}), or use "
                "another folder"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        text = run([binaries.kubectl(), "config", "view", "--minify", "--flatten", "--raw"])
        self.kubeconfig_file.touch(mode=0o600)
        self.kubeconfig_file.write_text(text)
        self.kubectl("version", "--request-timeout=10s")
        self._require_services()
        endpoint, key, secret, bucket = (os.environ[name] for name in STORE_VARIABLES)
        Store(endpoint, key, secret, bucket, os.environ.get("AWS_REGION", "us-east-1")).save(self.folder)

    def _require_services(self) -> None:
        """The load is sent from here to ClusterIPs, through whatever leads there: a node, a VPN, a route."""
        address = self.kubectl(
            "--namespace=default", "get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"
        )
        try:
            socket.create_connection((address, 443), timeout=5).close()
        except OSError as error:
            raise ClusterError(
                f"this machine does not reach the Services of the current context ({address}:443: {error}): requests "
                "are sent to their ClusterIPs; run this on a node, or give this machine a route to them"
            ) from error

    def down(self) -> None:
        """Forgets the context; the cluster stays as it is, and so does one of our own in the same folder."""
        if Cluster(self.folder).taken():
            return
        for name in ("kubeconfig", "store.json"):
            (self.folder / name).unlink(missing_ok=True)

    def running(self) -> bool:
        """Whether it was taken over."""
        return self.kubeconfig_file.exists()

    def build_images(self, names: Sequence[str] = ()) -> list[images.Archive]:
        """None: whoever has the cluster brings them into the registry, or onto its nodes."""
        return []

    def registry(self) -> str:
        """Where the cluster pulls Podium's images from; `up` has seen that it is named."""
        return os.environ[REGISTRY_VARIABLE]

    def load(self, archives: Sequence[images.Archive]) -> None:
        """Nothing: whoever has the cluster has brought them."""

    def status(self) -> list[str]:
        """Where it is."""
        return [self.kubectl("cluster-info")]


class InDocker(Cluster):
    """A cluster that kind or k3d makes on a Docker daemon; its images are built by that daemon."""

    on_this_host = False

    def __init__(self, folder: Path, tool: str) -> None:
        super().__init__(folder)
        self.tool = tool
        self.name = "podium-" + hashlib.sha256(str(self.folder).encode()).hexdigest()[:6]

    def up(self) -> None:
        """Makes the cluster if there is none of this name, and starts the model store beside it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if self.name not in run(
                {"kind": ["kind", "get", "clusters"], "k3d": ["k3d", "cluster", "list"]}[self.tool]
            ):
                with step(f"Making the cluster {self.name} with {self.tool}", "1 min"):
                    run(self._create())
            self._start_store()

    def down(self) -> None:
        """Ends the cluster and the store."""
        with self._alone(), step(f"Deleting the cluster {self.name}", "10 s"):
            run({"kind": ["kind", "delete", "cluster", "--name", self.name],
                 "k3d": ["k3d", "cluster", "delete", self.name]}[self.tool])  # fmt: skip
            self.processes.kill("store")
            for name in ("kubeconfig", "store.json"):
                (self.folder / name).unlink(missing_ok=True)
            shutil.rmtree(self.folder / "store", ignore_errors=True)

    def running(self) -> bool:
        """Whether it was made and its store lives."""
        return self.kubeconfig_file.exists() and self.processes.alive("store")

    def build_images(self, names: Sequence[str] = ()) -> list[images.Archive]:
        """Podium's images, built by the Docker daemon and saved as archives."""
        wanted = images.named(names or list(images.IMAGES))
        return [self._build(image) for image in wanted if image.name != "pause"]

    def load(self, archives: Sequence[images.Archive]) -> None:
        """Brings images to the nodes."""
        for archive in archives:
            with step(f"Loading {archive.image.reference}", "10 s"):
                if self.tool == "kind":
                    run(["kind", "load", "image-archive", "--name", self.name, archive.path])
                else:
                    run(["k3d", "image", "import", "--cluster", self.name, archive.path])

    def status(self) -> list[str]:
        """Where it is."""
        return [self.kubectl("cluster-info"), f"model store {self.store.endpoint}"]

    def _create(self) -> list[str | Path]:
        if self.tool == "kind":
            return [
                "kind",
                "create",
                "cluster",
                "--name",
                self.name,
                "--kubeconfig",
                self.kubeconfig_file,
                "--wait=120s",
            ]
        return [
            "sh",
            "-c",
            f"k3d cluster create {self.name} --wait && k3d kubeconfig get {self.name} > '{self.kubeconfig_file}'",
        ]

    def _build(self, image: images.Image) -> images.Archive:
        archive = self.folder / f"{image.name}.tar"
        with step(f"Building {image.reference} with docker", image.usually):
            run(["docker", "build", "--quiet", "--tag", image.reference, "--file", image.dockerfile, image.context])
            run(["docker", "save", "--output", archive, image.reference])
        return images.Archive(image, image.key(), archive)

    def _start_store(self) -> None:
        if self.processes.alive("store"):
            return
        network = "kind" if self.tool == "kind" else f"k3d-{self.name}"
        described = json.loads(run(["docker", "network", "inspect", network]))
        # The first IPv4 gateway is the host, as the nodes see it.
        gateway = next(part["Gateway"] for part in described[0]["IPAM"]["Config"] if "." in part.get("Gateway", ""))
        store = Store.of(self.folder, f"http://{gateway}:{STORE_PORT}")
        (self.folder / "store" / BUCKET).mkdir(parents=True, exist_ok=True)
        credentials = {"ROOT_ACCESS_KEY_ID": store.access_key, "ROOT_SECRET_ACCESS_KEY": store.secret_key}
        command: list[str | Path] = [
            binaries.versitygw(),
            "--port",
            f"{gateway}:{STORE_PORT}",
            "--quiet",
            "posix",
            self.folder / "store",
        ]
        self.processes.start("store", command, credentials)
        if not await_true(lambda: self.processes.log("store").exists() and self.processes.alive("store"), 5):
            self.processes.require("store")


def docker_answers() -> bool:
    """Whether there is a Docker daemon."""
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "info"], capture_output=True, timeout=30).returncode == 0


def tool_for_docker() -> str:
    """kind or k3d, whichever is installed; empty if neither is."""
    found = next((tool for tool in ("kind", "k3d") if shutil.which(tool)), "")
    if not found:
        say("A Docker daemon answers, but neither kind nor k3d is installed.")
    return found
