"""Where the parts of a router's pod find one another. Pure: the builder of the pod reads it, too."""

from typing import Final

FOLDER: Final = "/etc/podium-router"
"""Shared by Envoy and the agent, and by nobody else: Envoy's files, its admin socket, and the agent's."""
BOOTSTRAP, XDS, SOCKET, POLLED = "bootstrap.json", "xds", "admin.sock", "agent.sock"
"""Within FOLDER."""
KNOWN: Final = "known.json"
"""Within FOLDER: by ConfigMap the text that was understood last, for an agent that is started anew."""
MOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
"""The ServiceAccount's token and certificate: the agent's alone."""
MEMORY: Final = "ENVOY_MEMORY"
"""Variable of the agent: bytes that Envoy's container may have. An older agent ignores it."""
PORT: Final = 9903
"""Says at /applied what the router has loaded: the operator reads it by the pod's address."""
STATS_PORT: Final = 9902
"""Shows /stats/prometheus, /stats and /ready, and nothing else of Envoy's admin interface."""
READY_PORT: Final = 15021
"""Listens once everything that was wanted at the start is loaded: a router without configuration is never Ready."""
READY, FIGURES = "podium.ready", "podium.figures"
"""The listeners of READY_PORT and STATS_PORT: to Envoy they are beside those of ModelDeployments, whose names have no
dot. Two of one name are one listener."""
