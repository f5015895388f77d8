"""A stage whose specs come by Git: what a person would apply is committed, and Argo CD brings it to the cluster."""

import asyncio
import copy
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence

from podium.api import names
from tests.client import Object, wait
from tests.integration.argocd import NAMESPACE, ArgoCD
from tests.integration.operator import Operator
from tests.integration.rollouts.api import MODEL_DEPLOYMENT
from tests.integration.rollouts.stage import MODEL, Cluster, Stage
from tests.integration.rollouts.world import PATIENCE
from tests.invariants import Version


class GitOps:
    """Argo CD beside operators; each of their namespaces has an Application of its own. `run` it while it is used."""

    def __init__(self, cluster: Cluster, argocd: ArgoCD, operators: dict[str, Operator]) -> None:
        self.cluster = cluster
        self.argocd = argocd
        self.operators = operators
        self.commits: list[str] = []
        self.committing = asyncio.Lock()
        self.seen: dict[str, list[Object]] = defaultdict(list)
        """Every version of each Application."""
        self.applications: dict[str, str] = {}
        """By namespace, the name of its Application."""
        self._left = list(operators)
        self._changed = asyncio.Condition()
        self._phases: dict[str, str] = {}
        self._to_compare: asyncio.Queue[str] = asyncio.Queue()
        cluster.world.listen(MODEL_DEPLOYMENT, self._notice)

    def stage(self, sync_options: Sequence[str] = (), application: str = "") -> "GitStage":
        """A namespace that nobody has used yet, and the name of its Application; the namespace's, if none is given."""
        return GitStage(self, self._left.pop(), sync_options, application)

    async def run(self) -> None:
        """Follow the Applications, and have each compared whenever its ModelDeployment enters another phase."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._compare())

    async def until(self, name: str, check: Callable[[Object], object], what: str) -> Object:
        """The first version of an Application from now on that passes; a key that it lacks means not yet."""

        def found() -> bool:
            try:
                return bool(check(self.seen[name][-1]))
            except (KeyError, IndexError):
                return False

        try:
            async with asyncio.timeout(PATIENCE), self._changed:
                await self._changed.wait_for(found)
        except TimeoutError:
            last = self.seen[name][-1:]
            raise AssertionError(f"Application {name} after {PATIENCE:g} s is not there: {what}; {last}") from None
        return self.seen[name][-1]

    def _notice(self, version: Version) -> None:
        namespace, phase = version.obj["metadata"]["namespace"], (version.obj.get("status") or {}).get("phase", "")
        application = self.applications.get(namespace, "")
        if application in self.seen and phase != self._phases.get(namespace):
            self._phases[namespace] = phase
            self._to_compare.put_nowait(application)

    async def _compare(self) -> None:
        while True:
            await asyncio.to_thread(self.argocd.refresh, await self._to_compare.get())

    async def _follow(self) -> None:
        items, version = await self.cluster.api.list("Application", NAMESPACE)
        assert not items
        async for event, obj in self.cluster.api.watch("Application", version):
            version = obj["metadata"]["resourceVersion"]
            if event in ("ADDED", "MODIFIED"):
                async with self._changed:
                    self.seen[obj["metadata"]["name"]].append(obj)
                    self._changed.notify_all()


class GitStage(Stage):
    """See the module."""

    def __init__(self, gitops: GitOps, namespace: str, sync_options: Sequence[str], application: str) -> None:
        super().__init__(gitops.cluster, namespace, gitops.operators[namespace])
        self.gitops = gitops
        self.application = gitops.applications[namespace] = application or namespace
        self.sync_options = sync_options
        self.commits: list[str] = []

    async def apply(self, spec: Object, **annotations: str) -> None:
        """Commit the ModelDeployment, and wait until it has been synced."""
        commit = await self.commit(self.manifest(spec))
        synced = self.until_application(lambda app: self._ours(_synced_to(app)) == commit, f"synced to {commit}")
        await self.comparing(synced)
        self.uid = self.obj["metadata"]["uid"]

    async def comparing(self, what: Coroutine[object, object, object]) -> None:
        """Await something that Argo CD does once it has compared, and ask for comparisons until then.

        The controller puts what it has written into its cache, and so can hide a refresh until the next change.
        """
        waiting = asyncio.create_task(what)
        while not (await asyncio.wait({waiting}, timeout=2))[0]:
            await asyncio.to_thread(self.gitops.argocd.refresh, self.application)
        await waiting

    async def commit(self, *objects: Object) -> str:
        """Make them all that Git holds for this namespace; the Application is there from the first commit on."""
        argocd = self.gitops.argocd
        async with self.gitops.committing:
            commit = await asyncio.to_thread(argocd.commit, self.namespace, *objects)
            self.gitops.commits.append(commit)
        self.commits.append(commit)
        if len(self.commits) == 1:
            await asyncio.to_thread(
                argocd.application,
                self.application,
                self.namespace,
                directory=self.namespace,
                sync_options=self.sync_options,
                automated=True,
            )
        else:
            await asyncio.to_thread(argocd.refresh, self.application)
        return commit

    def manifest(self, spec: Object) -> Object:
        """The ModelDeployment as Git has it."""
        self.spec = copy.deepcopy(spec)
        metadata = {"name": MODEL, "namespace": self.namespace}
        return {"apiVersion": names.API_VERSION, "kind": MODEL_DEPLOYMENT, "metadata": metadata, "spec": spec}

    async def until_application(self, check: Callable[[Object], object], what: str) -> Object:
        """See GitOps.until."""
        return await self.gitops.until(self.application, check, what)

    async def until_health(self, health: str) -> None:
        """The Application is Synced and of that health."""
        await self.until_application(lambda app: told(app) == ("Synced", health), f"Synced and {health}")

    async def until_ready(self, version: str | None = None) -> None:
        """As a person who looks at Argo CD: it says Healthy, too."""
        await super().until_ready(version)
        await self.until_health("Healthy")

    async def until_shown(self, health: str) -> None:
        """The web interface has this health and status's sentence; the Application is Synced and of that health."""
        argocd = self.gitops.argocd

        def shown() -> bool:
            expected = {"status": health, "message": self.status["message"]}
            return argocd.health(self.application, self.obj) == expected

        await asyncio.to_thread(wait, f"{self.application} shows {health} and why", shown, PATIENCE)
        await self.until_health(health)

    async def command(self, verb: str, revision: str, token: str) -> None:
        """As a person who looks at Argo CD first: while one is waited for, it says Suspended."""
        if self.phase == "Paused":
            await self.until_health("Suspended")
        await super().command(verb, revision, token)

    async def act(self, action: str) -> None:
        """What a person does in Argo CD's web interface: wait until it offers an action, and choose it."""
        argocd = self.gitops.argocd

        def offered() -> bool:
            found = argocd.actions(self.application, self.obj)
            assert found.get(action), found
            return True

        await asyncio.to_thread(wait, f"{self.application} offers {action}", offered, PATIENCE)
        await asyncio.to_thread(argocd.act, self.application, self.obj, action)

    @property
    def healths(self) -> list[str]:
        """Each health that the Application had, in its order."""
        versions = (app.get("status", {}) for app in self.gitops.seen[self.application])
        found = [status["health"]["status"] for status in versions if "status" in status.get("health", {})]
        return [one for one, before in zip(found, ["", *found], strict=False) if one != before]

    def drift(self) -> list[str]:
        """Comparisons that found a difference though the same commit of ours had been found in the cluster before."""
        found, synced = [], ""
        for app in self.gitops.seen[self.application]:
            sync = app.get("status", {}).get("sync", {})
            commit = self._ours(sync.get("revision", ""))
            if sync.get("status") == "Synced":
                synced = commit
            elif sync.get("status") == "OutOfSync" and commit == synced:
                found.append(f"{commit}: {app['status'].get('resources')}")
        return found

    def _ours(self, revision: str) -> str:
        """The last of our commits in a revision of the repository, which others commit to as well."""
        if revision not in self.gitops.commits:
            return ""
        before = self.gitops.commits[: self.gitops.commits.index(revision) + 1]
        return next((one for one in reversed(before) if one in self.commits), "")


def told(app: Object) -> tuple[str, str]:
    """(sync status, health) of an Application."""
    status = app["status"]
    return status["sync"]["status"], status["health"]["status"]


def _synced_to(app: Object) -> str:
    state: Object = app["status"]["operationState"]
    return str(state["syncResult"]["revision"]) if state["phase"] == "Succeeded" else ""
