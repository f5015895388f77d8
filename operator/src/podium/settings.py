"""The operator's configuration: frozen once it is read, every duration in seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the operator is told by its arguments and environment. Durations are seconds."""

    identity: str
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces to look after; empty means all of them."""
    selector: str = ""
    """Only ModelDeployments with these labels are looked after."""
    fetcher_image: str = "podium-serving:latest"
    fetcher_allow_addresses: tuple[str, ...] = ()
    """CIDRs, addresses and host names where https:// models may come from although they are not public."""
    fetcher_proxy: str = ""
    """http://host:port that https:// and s3:// models are fetched through; empty: none."""
    fetcher_no_proxy: tuple[str, ...] = ()
    """Host names (with all below them), addresses and CIDRs that the fetcher reaches without the proxy."""
    router_image: str = "podium-router:latest"
    """Of the routers that ModelDeployments with spec.traffic.router Envoy have in their namespaces."""
    router_pods: str = ""
    """JSON of manifests.router.RouterPods, without the image; empty: its defaults."""
    prometheus_url: str = ""
    """Of the Prometheus that metrics of type Prometheus are asked of, /api/v1/query being appended; empty: none."""
    prometheus_ca_file: str = ""
    """PEM file of those who may sign its certificate; empty: the public authorities."""
    prometheus_token_file: str = ""
    """File with a bearer token, read anew each time; empty: none."""
    prometheus_any_query: bool = False
    """Whether queries need not name {{namespace}} and {{revision}}."""
    prometheus_interval: float = 60.0
    """Between two queries; not less than the interval at which Prometheus scrapes what is queried."""
    runtimes_file: str = ""
    """ModelRuntimes that the leader applies; none in namespaced mode."""
    workers: int = 16
    health_port: int = 8081
    metrics_port: int = 8080
    log_level: str = "info"

    lease_namespace: str = "podium-system"
    lease_name: str = "podium"
    lease_duration: float = 12.0
    """A follower takes over once a Lease has not been renewed for so long."""
    lease_write_deadline: float = 8.0
    """The holder writes nothing later than so long after its last renewal."""
    lease_renew_interval: float = 2.0
    lease_poll_interval: float = 1.0

    resync_min: float = 300.0
    resync_max: float = 600.0
    """Every cache is compared with the API server after a random time between these two."""

    crash_grace: float = 30.0
    """How long an unpullable image or a permanent fetch failure is watched before it is a crash."""
    champion_down: float = 60.0
    """How long a champion may be without an available pod before a candidate that has one takes over."""
    environment_window: float = 300.0
    """If pods of champion and candidate that were made within this time of each other fail alike, or a signal ends
    servers of both within it, the environment is at fault."""
    refused_retry: float = 30.0
    """How often a write is tried again that only a person can unblock: no watch tells that a quota was raised."""
    drift_window: float = 600.0
    drift_limit: int = 5
    """Repairs of one field within the window after which Podium stops fighting for it."""

    @property
    def installation(self) -> str:
        """Names this installation in status.controller, whichever of its replicas leads."""
        return f"{self.lease_namespace}/{self.lease_name}"

    def __post_init__(self) -> None:
        """Refuse what cannot work, by name."""
        if not self.lease_renew_interval < self.lease_write_deadline < self.lease_duration:
            raise ValueError(
                "lease_renew_interval < lease_write_deadline < lease_duration must hold, got "
                f"{self.lease_renew_interval} / {self.lease_write_deadline} / {self.lease_duration}"
            )
        if self.prometheus_url and not self.prometheus_url.startswith(("http://", "https://")):
            raise ValueError(f"prometheus_url ({self.prometheus_url}) must begin with http:// or https://")
        if self.prometheus_token_file and self.prometheus_url.startswith("http://"):
            raise ValueError(
                "prometheus_token_file needs an https:// prometheus_url: else anybody could read the token"
            )
        if self.prometheus_interval < 1:
            raise ValueError(f"prometheus_interval ({self.prometheus_interval:g}) must be at least 1 s")
        if self.resync_min > self.resync_max:
            raise ValueError(f"resync_min ({self.resync_min}) is above resync_max ({self.resync_max})")
