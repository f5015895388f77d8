"""The API server's refusals as sentences: which right is missing, which object is not there, and the way out. Pure."""

import json
from dataclasses import dataclass

from podium.cli.errors import CliError, Exit, Missing, Unreachable

_ROLES = {
    ("modeldeployments", "get"): "podium-view",
    ("modeldeployments", "list"): "podium-view",
    ("modeldeployments", "watch"): "podium-view",
    ("modeldeployments", "patch"): "podium-edit",
    ("configmaps", "get"): "view",
    ("controllerrevisions", "get"): "view",
}
"""The ClusterRole that gives the right, by resource and verb."""


@dataclass(frozen=True)
class Asked:
    """A request in the terms of RBAC."""

    verb: str
    resource: str
    namespace: str | None
    """None: all of them."""
    name: str | None = None

    @property
    def place(self) -> str:
        """Where, for people."""
        return f"in namespace {self.namespace}" if self.namespace else "in all namespaces"

    @property
    def about(self) -> str:
        """The object that an error is about, with a colon; empty for many."""
        return f"{self.resource.removesuffix('s')} {self.name}: " if self.name else ""


def refusal(status: int, body: str, asked: Asked) -> CliError:
    """The sentence for an answer of `status` >= 400 with `body`, a Status object or plain text."""
    said, named = _said(body)
    if status == 401:
        return CliError("the API server does not know you (401): log in again, or choose another --context")
    if status == 403:
        return CliError(f"{asked.about}{_forbidden(said, asked)}")
    if status == 404 and not named and asked.resource == "modeldeployments":
        # An unknown resource is answered in plain text, an object that is missing by a Status that names it.
        return CliError(
            "this cluster has no ModelDeployments (its CRD is missing): install Podium, or choose another --context"
        )
    if status == 404 and asked.resource == "modeldeployments" and asked.namespace and asked.name:
        return missing(asked.namespace, asked.name)
    if status == 404:
        return Missing(f"there is no {asked.resource.removesuffix('s')} {asked.name} {asked.place}")
    if status == 429 or status >= 500:
        return Unreachable(f"{asked.about}the API server fails ({status}): {said}")
    return CliError(f"{asked.about}the API server refuses to {asked.verb} it ({status}): {said}", Exit.FAILED)


def missing(namespace: str, name: str) -> Missing:
    """The sentence for a ModelDeployment that is not there: most likely its name or its namespace is mistyped."""
    return Missing(
        f"there is no modeldeployment {name} in namespace {namespace}: kubectl podium get -n {namespace} lists those "
        "that there are; is it in another namespace (-n)?"
    )


def _forbidden(said: str, asked: Asked) -> str:
    if f'cannot {asked.verb} resource "{asked.resource}"' not in said:
        return f"the API server forbids to {asked.verb} it: {said}"  # an admission policy, which no role overcomes
    role = _ROLES.get((asked.resource, asked.verb), "that allows it")
    scope = "" if asked.namespace else " in all of them, or name a namespace with -n"
    return f"you may not {asked.verb} {asked.resource} {asked.place}: ask for role {role}{scope}"


def _said(body: str) -> tuple[str, bool]:
    """The answer's sentence, and whether it names an object."""
    try:
        status = json.loads(body)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        return " ".join(body.split())[:300] or "no reason given", False
    return str(status.get("message") or "no reason given"), bool((status.get("details") or {}).get("name"))
