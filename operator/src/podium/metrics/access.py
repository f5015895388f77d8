"""Where the operator's Prometheus is. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Access:
    """Where Prometheus is, and how it is asked: the operator's settings, never a ModelDeployment's."""

    url: str = ""
    """To which /api/v1/query is appended; empty: there is none."""
    ca_file: str = ""
    """PEM of those who may sign its certificate; empty: the public ones."""
    token_file: str = ""
    """Holds a bearer token, and is read again for each query: tokens are renewed in place; empty: none."""
    any_query: bool = False
    """Whether queries may leave out {{namespace}} and {{revision}}."""
    every: float = 60.0
    """Seconds from one look to the next: no less than the scrape interval of what is queried."""
