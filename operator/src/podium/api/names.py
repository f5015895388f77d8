"""Names that people and tools rely on: labels, annotations, objects' names."""

from typing import Final

GROUP: Final = "podium.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

FIELD_MANAGER: Final = "podium"
HANDOVER_MANAGER: Final = "podium-handover"
"""Holds `replicas` for the moment between Podium's letting go of the field and the HPA's taking it."""

LABEL_MODEL: Final = "podium.dev/model"
LABEL_REVISION: Final = "podium.dev/revision"
LABEL_BUILTIN: Final = "podium.dev/builtin"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_ROUTER: Final = "podium.dev/router"
"""ROUTER on a namespace's router pods and their objects, ROUTING on the ConfigMaps that they read, LEDGER on those
that keep what was counted at them."""
MANAGED_BY: Final = "podium"
ROUTER: Final = "podium-router"
"""Name of all objects of a namespace's routers, and of the ClusterRole that they are bound to."""
ROUTING: Final = "routing"
LEDGER: Final = "ledger"

# On the ModelDeployment, written by people and tools.
ANNOTATION_COMMAND: Final = "podium.dev/command"

# On the ControllerRevision: the durable record.
ANNOTATION_INPUTS: Final = "podium.dev/inputs"
"""Digest by the defaults that were known then, for people; compared is what the data says, by those of today."""
ANNOTATION_ROLLOUT: Final = "podium.dev/rollout"
ANNOTATION_OUTCOME: Final = "podium.dev/outcome"
ANNOTATION_RULE: Final = "podium.dev/rule"
ANNOTATION_CAUSE: Final = "podium.dev/cause"
"""Why a revision was rolled back, in a sentence: its pods, which would say it, are gone by the time somebody asks."""
ANNOTATION_DECIDED_AT: Final = "podium.dev/decided-at"
ANNOTATION_LEDGER: Final = "podium.dev/ledger"
"""Digest of a ledger and its rollout's id. On the ledger: written with it. On the ControllerRevision, once there is an
outcome: of the ledger that it was decided from."""

# On pod templates and children.
ANNOTATION_VERSION: Final = "podium.dev/version"
ANNOTATION_RESTART: Final = "podium.dev/restart"
ANNOTATION_APPLIED: Final = "podium.dev/applied"
"""Digest of what Podium last applied to a child; compared before anything is sent."""
ANNOTATION_REPLICAS: Final = "podium.dev/replicas"
"""On a Deployment that no HPA sizes: how many pods Podium asked for last. A number set by somebody else differs."""
ANNOTATION_ADOPT: Final = "podium.dev/adopt"

ANNOTATION_UNUSED_SINCE: Final = "podium.dev/unused-since"
"""On what routers need: since when nobody has needed it. It goes a while later."""
ANNOTATION_INSTALLATION: Final = "podium.dev/installation"
"""On the Deployment of a namespace's routers: which installation of Podium took them last."""
ANNOTATION_PAST_ROUTER: Final = "podium.dev/past-router"
"""On a stable Service that goes past the routers although callers may still be connected to them."""

ROUTER_UNREACHABLE: Final = "RouterUnreachable"
"""A condition of a ModelDeployment whose routers are waited for."""

PREVIEW_SUFFIX: Final = "-preview"
ROUTING_SUFFIX: Final = "-router"
LEDGER_SUFFIX: Final = "-ledger"
MODEL_CONTAINER: Final = "model"
FETCH_CONTAINER: Final = "fetch"
HASH_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
HASH_LENGTH: Final = 10


def model_labels(model: str) -> dict[str, str]:
    """The labels that every child of the ModelDeployment `model` carries."""
    return {LABEL_MODEL: model, LABEL_MANAGED_BY: MANAGED_BY, LABEL_INSTANCE: model}


def revision_labels(model: str, revision: str) -> dict[str, str]:
    """The labels of a child that belongs to one revision."""
    return model_labels(model) | {LABEL_REVISION: revision}


def revision_selector(model: str, revision: str) -> dict[str, str]:
    """What a Deployment or a Service selects one revision's pods by; never changed once written."""
    return {LABEL_MODEL: model, LABEL_REVISION: revision}


def router_labels() -> dict[str, str]:
    """The labels of a namespace's routers and of the objects that run them.

    They have the label of a model as well, by which all that Podium makes is watched: of a name that no
    ModelDeployment may have. None says `instance`: a tool that tracks its own objects by it might prune them.
    """
    return {LABEL_ROUTER: ROUTER, LABEL_MODEL: ROUTER, LABEL_MANAGED_BY: MANAGED_BY, "app.kubernetes.io/name": ROUTER}


def router_selector() -> dict[str, str]:
    """What a Service selects a namespace's router pods by; never changed once written."""
    return {LABEL_ROUTER: ROUTER}


def routing_name(model: str) -> str:
    """The ConfigMap that tells the routers of the ModelDeployment `model`; no revision's name ends like this."""
    return f"{model}{ROUTING_SUFFIX}"


def ledger_name(revision: str) -> str:
    """The ConfigMap that keeps the evidence on a candidate; no revision's name ends like this."""
    return f"{revision}{LEDGER_SUFFIX}"
