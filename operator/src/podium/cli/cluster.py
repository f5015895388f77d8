"""The API server, asked as the caller of a kubeconfig: its context, credentials and namespace."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import RESTClientObject
from kubernetes.config import ConfigException, kube_config
from urllib3.exceptions import HTTPError
from yaml import YAMLError

from podium.api import names
from podium.cli.api import Listed, Object
from podium.cli.errors import CliError, Unreachable
from podium.cli.refusals import Asked, refusal

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
PLURAL = "modeldeployments"


class Cluster:
    """The API server that a kubeconfig names. Implements podium.cli.api.Api."""

    def __init__(self, configuration: Any, namespace: str) -> None:
        """`configuration`: of package kubernetes, loaded. `namespace`: where to look by default."""
        self.namespace = namespace
        self._configuration = configuration
        self._rest: Any = RESTClientObject(configuration)
        self._server = str(configuration.host).rstrip("/")

    @staticmethod
    def connect(context: str | None) -> "Cluster":
        """By KUBECONFIG or ~/.kube/config; `context` is another than the current one. No request is made yet.

        Raises CliError where there is no kubeconfig, no such context, or nothing usable in it.
        """
        file = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        if not any(Path(part).expanduser().exists() for part in file.split(os.pathsep) if part):
            raise CliError(f"no kubeconfig: there is no {file}; set KUBECONFIG to a kubeconfig file")
        loader: Any = kube_config  # which has no types
        configuration = Configuration()
        configuration.retries = False
        try:
            contexts, current = _contexts(file)
            chosen = context or current
            if chosen not in contexts:
                raise CliError(_no_context(file, context, current, contexts))
            loader.load_kube_config(
                config_file=file, context=chosen, client_configuration=configuration, persist_config=False
            )
        except (ConfigException, YAMLError, OSError, ValueError, TypeError, KeyError) as error:
            raise CliError(f"the kubeconfig {file} cannot be used: {_line(error)}") from error
        return Cluster(configuration, str(contexts[chosen].get("namespace") or "default"))

    def deployment(self, namespace: str, name: str) -> Object:
        """The ModelDeployment."""
        return self._json("GET", _path(namespace, name), Asked("get", PLURAL, namespace, name))

    def deployments(self, namespace: str | None, name: str | None = None) -> Listed:
        """The ModelDeployments of a namespace or of all, or one of them."""
        found = self._json("GET", _path(namespace), Asked("list", PLURAL, namespace, name), _selected(name))
        return Listed(tuple(found["items"]), str(found["metadata"]["resourceVersion"]))

    def watch(self, namespace: str | None, name: str | None, version: str, seconds: int) -> Iterator[Object]:
        """Watch events after `version`; the end comes after `seconds`, or sooner. Raises Unreachable in mid-stream."""
        query = _selected(name) | {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        asked = Asked("watch", PLURAL, namespace, name)
        with self._answer("GET", _path(namespace), asked, query, read=seconds + CONNECT_SECONDS) as answer:
            for line in answer:
                try:
                    event = json.loads(line)
                except ValueError as error:
                    raise Unreachable(f"{asked.about}the watch broke off in the middle of an event") from error
                yield event

    def annotate(self, namespace: str, name: str, annotations: dict[str, str]) -> Object:
        """Merge annotations by a JSON merge patch of metadata alone."""
        patch = {"metadata": {"annotations": annotations}}
        return self._json("PATCH", _path(namespace, name), Asked("patch", PLURAL, namespace, name), {}, patch)

    def config_map(self, namespace: str, name: str) -> Object:
        """A ConfigMap."""
        return self._one("/api/v1", "configmaps", namespace, name)

    def controller_revision(self, namespace: str, name: str) -> Object:
        """A ControllerRevision."""
        return self._one("/apis/apps/v1", "controllerrevisions", namespace, name)

    def _one(self, version: str, plural: str, namespace: str, name: str) -> Object:
        path = f"{version}/namespaces/{quote(namespace, safe='')}/{plural}/{quote(name, safe='')}"
        return self._json("GET", path, Asked("get", plural, namespace, name))

    def _json(
        self, method: str, path: str, asked: Asked, query: dict[str, str] | None = None, body: Object | None = None
    ) -> Object:
        with self._answer(method, path, asked, query or {}, body) as answer:
            text = answer.data
        try:
            found: Object = json.loads(text)
        except ValueError as error:
            raise CliError(f"{self._server} is no Kubernetes API server: it does not answer in JSON") from error
        return found

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        asked: Asked,
        query: dict[str, str],
        body: Object | None = None,
        read: float = READ_SECONDS,
    ) -> Iterator[Any]:
        """The answer of urllib3, open, its status below 400; what goes wrong until it is closed is a CliError."""
        headers = {"Accept": "application/json", "User-Agent": "kubectl-podium"} | self._authorization()
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        url = f"{self._server}{path}{'?' + urlencode(query) if query else ''}"
        try:
            answer = self._rest.request(
                method, url, headers=headers, body=body, _request_timeout=(CONNECT_SECONDS, read)
            ).response
            try:
                if answer.status >= 400:
                    raise refusal(answer.status, answer.data.decode(errors="replace"), asked)
                yield answer
            finally:
                answer.close()
        except (HTTPError, ApiException, OSError) as error:
            raise Unreachable(f"no answer from {self._server}: {_line(error)}; does the cluster run?") from error

    def _authorization(self) -> dict[str, str]:
        """A token, refreshed where it is due; nothing where a client certificate says who asks."""
        try:
            token = self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        except (ConfigException, OSError, ValueError) as error:
            raise CliError(f"the token of your kubeconfig cannot be refreshed: {_line(error)}") from error
        return {"Authorization": token} if token else {}


def _contexts(file: str) -> tuple[dict[str, dict[str, Any]], str]:
    """The contexts of a kubeconfig by name, and the current one's name, empty where it has none.

    `list_kube_config_contexts` would do, if it did not insist on a current one, which --context makes needless.
    """
    merger: Any = kube_config.KubeConfigMerger  # which has no types
    merged = merger(file).config.value
    contexts = {one.value["name"]: one.value.get("context") or {} for one in merged["contexts"]}
    return contexts, merged.get("current-context") or ""


def _no_context(file: str, context: str | None, current: str, contexts: dict[str, dict[str, Any]]) -> str:
    """The sentence where none is chosen that there is."""
    known = ", ".join(sorted(contexts)) or "none"
    if context:
        return f"there is no context {context} in {file}: it has {known}"
    why = f"its current context {current} is not in it" if current else "it has no current context"
    way_out = f"choose one by --context (it has {known})" if contexts else "it has no contexts at all"
    return f"the kubeconfig {file} cannot be used: {why}; {way_out}"


def _path(namespace: str | None, name: str | None = None) -> str:
    within = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"/apis/{names.API_VERSION}{within}/{PLURAL}" + (f"/{quote(name, safe='')}" if name else "")


def _selected(name: str | None) -> dict[str, str]:
    return {"fieldSelector": f"metadata.name={name}"} if name else {}


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
