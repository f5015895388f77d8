"""Argo CD as processes of the host: it brings what a git repository holds to a ControlPlane's API server."""

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.client import VERSIONS, Client, Object, condition, session, wait
from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane, answers
from tests.cluster.ports import reserve
from tests.cluster.processes import Guard, Processes
from tests.cluster.progress import run, tail
from tests.integration.operator import ROOT

NAMESPACE = "argocd"
REDIS, REPO_SERVER, CONTROLLER = "redis", "argocd-repo-server", "argocd-application-controller"
SERVER = "argocd-server"
PARTS = (REDIS, REPO_SERVER, CONTROLLER, SERVER)
CUSTOMIZATIONS = ROOT / "charts" / "argocd" / "argocd-cm.yaml"
REFRESH = "argocd.argoproj.io/refresh"
REFRESH_TIMESTAMP = "argocd.argoproj.io/refresh-timestamp"
DEADLINE = 60.0
MISSED = 15.0
"""Seconds after which the controller has missed what it was asked for."""
_ANYTHING = {
    "sourceRepos": ["*"],
    "destinations": [{"server": "*", "namespace": "*"}],
    "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
}
_AUTHOR = ("-c", "user.name=tests", "-c", "user.email=tests@example.com")


class ArgoCD:
    """Argo CD's controller, repo-server and API server with Debian's redis, and a git repository.

    Use it as a context manager. `plane` is both where its own objects are, in the namespace argocd, and the cluster
    that it brings Applications to: to these `namespaces`, or to all if none is named. Processes and repository are in
    `folder`. Applications are written to the API of Kubernetes, and `sync` asks for what `argocd app sync` would;
    actions and what its web interface shows go through Argo CD's API server, which answers from what the controller
    found when it last compared: a moment behind the cluster and behind the Application's status.
    """

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane = plane
        self.folder = folder.resolve()
        self.repository = self.folder / "repository"
        self.client = Client(plane.kubeconfig())
        self.processes = Processes(self.folder, f"argocd {self.folder}")
        self._redis_port, self._repo_port, self._repo_health, self._controller_health = reserve(4)
        self._server_port, self._server_metrics = reserve(2)

    def __enter__(self) -> Self:
        self._guard = Guard()
        try:
            binaries.apt(binaries.ARGOCD_PACKAGES)
            self._environment = self._make_environment()
            self._git("init", "--quiet", "--initial-branch=main", str(self.repository), where=self.folder)
            self._install()
            for part in PARTS:
                self.processes.start(part, self._command(part), self._environment)
                self._guard.tell(self.processes)
            for part in PARTS:
                wait(f"{part} serves", partial(self._serves, part), DEADLINE)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all parts; what they wrote stays in the folder, and their objects in the cluster."""
        for part in reversed(PARTS):
            self.processes.kill(part)
        self._guard.close()
        self.client.close()

    def commit(self, directory: str, *objects: Object) -> str:
        """Makes `objects` all that a directory of the repository holds; returns the commit."""
        file = self.repository / directory / "objects.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump_all(objects))
        self._git("add", "--all")
        self._git(*_AUTHOR, "commit", "--quiet", "--message", f"Change {directory}")
        return self._head()

    def log(self) -> list[str]:
        """The repository's commits, oldest first."""
        return self._git("rev-list", "--reverse", "HEAD").split()

    def application(
        self,
        name: str,
        namespace: str,
        *,
        directory: str = "",
        sync_options: Sequence[str] = (),
        automated: bool = False,
    ) -> None:
        """Makes an Application of a directory (its name's, if none is given).

        It is synced when it is told to be; `automated`, when its directory or the cluster has changed.
        """
        source = {"repoURL": f"file://{self.repository}", "targetRevision": "HEAD", "path": directory or name}
        destination = {"server": self.plane.url, "namespace": namespace}
        policy: Object = {"syncOptions": [*sync_options]}
        if automated:
            policy["automated"] = {"prune": True, "selfHeal": True}
        spec = {"project": "default", "source": source, "destination": destination, "syncPolicy": policy}
        self._apply("Application", name, {"spec": spec})

    def track(self, method: str) -> None:
        """By which mark all Applications know their own objects: annotation (the default), label, annotation+label."""
        settings = {"data": {"application.resourceTrackingMethod": method}}
        self.client.patch("ConfigMap", NAMESPACE, "argocd-cm", settings)

    def refresh(self, name: str) -> None:
        """Asks for a comparison of the last commit with the cluster, as `argocd app get --refresh` does.

        The timestamp makes each question another change: asked again in the same words, it would be no event for a
        controller that has missed the first, and asked during a comparison, it would be taken away with that one.
        """
        self._ask(name, "normal")

    def _ask(self, name: str, how: str) -> None:
        annotations = {REFRESH: how, REFRESH_TIMESTAMP: datetime.now(UTC).isoformat()}
        self.client.patch("Application", NAMESPACE, name, {"metadata": {"annotations": annotations}})

    def actions(self, name: str, obj: Object) -> dict[str, bool]:
        """The actions of an object, and whether each can be chosen, as the web interface shows them.

        AssertionError: it does not show that object yet.
        """
        found = self._server("GET", f"{name}/resource/actions", params=_reference(obj))["actions"]
        return {one["name"]: not one.get("disabled", False) for one in found}

    def health(self, name: str, obj: Object) -> Object:
        """What Argo CD shows of an object: `status` and `message`; empty if it does not show that object yet."""
        nodes = self._server("GET", f"{name}/resource-tree").get("nodes") or []
        sought = (obj["kind"], obj["metadata"]["name"])
        return next((one.get("health", {}) for one in nodes if (one["kind"], one["name"]) == sought), {})

    def act(self, name: str, obj: Object, action: str) -> None:
        """As `argocd app actions run`. AssertionError says why it was refused."""
        self._server("POST", f"{name}/resource/actions/v2", json=_reference(obj) | {"action": action})

    def _server(self, method: str, path: str, **more: Any) -> Object:
        with session() as asking:
            url = f"http://127.0.0.1:{self._server_port}/api/v1/applications/{path}"
            response = asking.request(method, url, timeout=30, **more)
        assert response.status_code == 200, response.text
        found: Object = response.json()
        return found

    def compared(self, name: str, seconds: float = DEADLINE) -> Object:
        """The Application's status, once Argo CD has compared the last commit with the cluster."""
        self._ask(name, "hard")

        def status(found: Object) -> Object | None:
            asked = REFRESH in found["metadata"].get("annotations", {})
            seen: Object = found.get("status", {})
            return seen if "sync" in seen and not asked else None

        return self._await(name, "compared", status, seconds, how="hard")

    def sync(self, name: str, seconds: float = DEADLINE) -> Object:
        """Brings the last commit to the cluster, with the Application's sync options; returns the operationState."""
        options = self._get(name)["spec"].get("syncPolicy", {}).get("syncOptions", [])
        ours = [{"name": "id", "value": uuid.uuid4().hex}]
        operation = {"info": ours, "sync": {"revision": self._head(), "syncOptions": options}}
        self.client.patch("Application", NAMESPACE, name, {"operation": operation})

        def ended(found: Object) -> Object | None:
            state: Object = found.get("status", {}).get("operationState", {})
            return state if "finishedAt" in state and state["operation"].get("info") == ours else None

        return self._await(name, "synced, or not", ended, seconds)

    def await_synced(self, name: str, seconds: float = DEADLINE) -> None:
        """Waits until a comparison finds no difference; what Argo CD knows of the cluster is a moment behind it."""

        def synced() -> bool:
            status = self.compared(name, seconds)
            others = [one for one in status.get("resources", []) if one.get("status") != "Synced"]
            assert status["sync"]["status"] == "Synced", f"{status.get('conditions')}, {others}"
            return True

        wait(f"{name} is Synced", synced, seconds)

    def _get(self, name: str) -> Object:
        return self.client.get("Application", NAMESPACE, name)

    def _await(
        self, name: str, what: str, check: Callable[[Object], Object | None], seconds: float, *, how: str = "normal"
    ) -> Object:
        """What `check` makes of the Application, once it is something.

        Its controller puts each version that it has written into its cache, also over a newer one that its watch has
        brought. So a comparison or a sync that was asked for in that moment is missed, until another change comes.
        """
        again = time.monotonic() + MISSED

        def found() -> Object | None:
            nonlocal again
            seen = check(self._get(name))
            if seen is None and time.monotonic() > again:
                self._ask(name, how)
                again = time.monotonic() + MISSED
            return seen

        try:
            return wait(f"{name} is {what}", found, seconds, every=0.1)
        except AssertionError as error:
            logs = "".join(tail(self.processes.log(part)) for part in (REPO_SERVER, CONTROLLER))
            status = json.dumps(self._get(name).get("status"), indent=1)
            raise AssertionError(f"{error}; its status: {status}\n{logs}") from None

    def _install(self) -> None:
        """Argo CD's CRDs and default settings, the project default, and the cluster that the API server is."""
        self.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        manifests = [binaries.argocd().parent / Path(name).name for name in binaries.ARGOCD_MANIFESTS]
        files = [word for file in manifests for word in ("-f", str(file))]
        self.plane.kubectl("apply", "--server-side", "--namespace", NAMESPACE, *files)
        for plural in ("applications", "appprojects"):
            wait(f"{plural} are served", partial(self._takes, plural), DEADLINE)
        self.plane.kubectl("apply", "--server-side", "--namespace", NAMESPACE, "-f", str(CUSTOMIZATIONS))
        self._apply("AppProject", "default", {"spec": _ANYTHING})
        part_of = {"app.kubernetes.io/part-of": "argocd"}
        self._apply("Secret", "argocd-secret", {"metadata": {"labels": part_of}})
        self._apply("Secret", "cluster", self._cluster())

    def _takes(self, plural: str) -> bool:
        # `kubectl wait` fails, rather than waits, where a CRD has no conditions yet.
        definition = self.client.get("CustomResourceDefinition", None, f"{plural}.argoproj.io")
        return condition(definition, "Established").get("status") == "True"

    def _cluster(self) -> Object:
        """What Argo CD must know to reach the API server: for processes of the host there is no in-cluster address."""
        config = json.loads(self.plane.kubeconfig().read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        trust = {
            "caData": cluster["certificate-authority-data"],
            "certData": user["client-certificate-data"],
            "keyData": user["client-key-data"],
        }
        access = {"name": "plane", "server": self.plane.url, "config": json.dumps({"tlsClientConfig": trust})}
        return {"metadata": {"labels": {"argocd.argoproj.io/secret-type": "cluster"}}, "stringData": access}

    def _apply(self, kind: str, name: str, content: Object) -> None:
        metadata = {"name": name, "namespace": NAMESPACE} | content.get("metadata", {})
        self.client.apply({"apiVersion": VERSIONS[kind], "kind": kind} | content | {"metadata": metadata})

    def _head(self) -> str:
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *words: str, where: Path | None = None) -> str:
        return run(["git", *words], cwd=where or self.repository, env=self._environment)

    def _make_environment(self) -> dict[str, str]:
        """Nothing of the user's home, temporary files in our folder, and on the PATH what the repo-server runs."""
        home, temporary, programs = (self.folder / name for name in ("home", "tmp", "bin"))
        for folder in (home, temporary, programs):
            folder.mkdir()
        # It is asked about the signature of every commit, whether the project wants one or not.
        wrapper = programs / "git-verify-wrapper.sh"
        wrapper.write_text("#!/bin/sh\n")
        wrapper.chmod(0o755)
        return os.environ | {
            "HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home), "TMPDIR": str(temporary),
            "PATH": f"{programs}:{binaries.helm().parent}:{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
            "ARGOCD_GPG_ENABLED": "false", "ARGOCD_ASK_PASS_SOCK": "ask-pass.sock",
        }  # fmt: skip

    def _command(self, part: str) -> list[str | Path]:
        redis = f"--redis=127.0.0.1:{self._redis_port}"
        commands: dict[str, list[str | Path]] = {
            REDIS: ["redis-server", "--bind", "127.0.0.1", "--port", str(self._redis_port), "--save", ""],
            REPO_SERVER: [
                binaries.argocd(), REPO_SERVER, redis, "--address=127.0.0.1", f"--port={self._repo_port}",
                "--metrics-address=127.0.0.1", f"--metrics-port={self._repo_health}",
            ],
            CONTROLLER: [
                binaries.argocd(), CONTROLLER, redis, f"--kubeconfig={self.plane.kubeconfig()}",
                f"--namespace={NAMESPACE}", f"--repo-server=127.0.0.1:{self._repo_port}",
                f"--metrics-port={self._controller_health}",
            ],
            SERVER: [
                binaries.argocd(), SERVER, redis, f"--kubeconfig={self.plane.kubeconfig()}",
                f"--namespace={NAMESPACE}", f"--repo-server=127.0.0.1:{self._repo_port}", "--insecure",
                "--disable-auth", "--address=127.0.0.1", f"--port={self._server_port}",
                "--metrics-address=127.0.0.1", f"--metrics-port={self._server_metrics}",
            ],
        }  # fmt: skip
        return commands[part]

    def _serves(self, part: str) -> bool:
        self.processes.require(part)
        if part == REDIS:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self._redis_port)) == 0
        port = {REPO_SERVER: self._repo_health, CONTROLLER: self._controller_health, SERVER: self._server_port}[part]
        return answers(f"http://127.0.0.1:{port}/healthz?full=true")


def _reference(obj: Object) -> dict[str, str]:
    """How Argo CD's API names an object."""
    group, _, version = obj["apiVersion"].rpartition("/")
    meta = obj["metadata"]
    place = {"namespace": meta.get("namespace", ""), "resourceName": meta["name"]}
    return place | {"group": group, "version": version, "kind": obj["kind"]}
