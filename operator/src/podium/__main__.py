"""`python -m podium`: arguments and PODIUM_* environment become Settings, and the operator runs."""

import argparse
import asyncio
import dataclasses
import gc
import os
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from podium import app, telemetry
from podium.kube.connect import ConfigurationError
from podium.manifests.router import InvalidRouterPods
from podium.reconcile.builtins import InvalidRuntimes
from podium.settings import Settings

_HELP: Final = {
    "identity": "who holds the Lease and reconciles, in status and in logs (default: host name and a random part)",
    "watch_namespaces": "namespaces to look after, separated by commas; empty: all of them",
    "selector": "label selector: only these ModelDeployments are looked after",
    "fetcher_image": "image of the init container that fetches models",
    "fetcher_allow_addresses": "CIDRs, addresses and host names, separated by commas, where https:// models may "
    "come from although they are not public; empty: none",
    "fetcher_proxy": "http://[user:password@]host:port that https:// and s3:// models are fetched through; empty: none",
    "fetcher_no_proxy": "host names (with all below them), addresses and CIDRs, separated by commas, that are reached "
    "without the proxy",
    "router_image": "image of the routers",
    "router_pods": "JSON object of what router pods have in common, as the chart's values of `router`; empty: defaults",
    "prometheus_url": "http(s)://host:port[/path] of the Prometheus of metrics of that type; empty: none",
    "prometheus_ca_file": "PEM file of the authorities that may sign its certificate; empty: the public ones",
    "prometheus_token_file": "file with a bearer token for it, read anew each time; empty: none",
    "prometheus_any_query": "true: queries need not name {{namespace}} and {{revision}}, so that whoever writes a "
    "ModelDeployment may query all that Prometheus has",
    "prometheus_interval": "seconds from one look at it to the next: no less than its scrape interval",
    "runtimes_file": "YAML file of ModelRuntimes that the leader applies; ignored with --watch-namespaces",
    "workers": "how many ModelDeployments are reconciled at once",
    "health_port": "port of /livez and /readyz; 0: none",
    "metrics_port": "port of /metrics; 0: none",
    "log_level": "debug, info, warning or error",
    "drift_limit": "repairs of one field within the drift window after which it is left alone",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit code is 2 for what the caller has to mend, 1 for a failure while running."""
    settings = settings_from(sys.argv[1:] if arguments is None else arguments, os.environ)
    telemetry.log_to_stderr(settings.log_level)
    gc.freeze()  # what is imported stays: no collection need look at it again
    try:
        asyncio.run(app.run(settings))
    except (ConfigurationError, InvalidRuntimes, InvalidRouterPods) as error:
        print(f"podium: {error}", file=sys.stderr)
        return 2
    return 0


def settings_from(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Every field of Settings as `--field-name=VALUE`, else PODIUM_FIELD_NAME, else its default.

    Exits with 2 and a sentence naming the argument if a value is not what it should be.
    """
    parser = argparse.ArgumentParser(prog="podium", description="The Podium operator.", allow_abbrev=False)
    for field in dataclasses.fields(Settings):
        default = _default(field)
        text = _HELP.get(field.name, "seconds" if isinstance(default, float) else "")
        shown = "" if field.name == "identity" or default in ("", ()) else f" (default: {default})"
        parser.add_argument(f"--{field.name.replace('_', '-')}", metavar="VALUE", help=text + shown)
    given = vars(parser.parse_args(arguments))
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Settings):
        variable = f"PODIUM_{field.name.upper()}"
        value: str | None = given[field.name] if given[field.name] is not None else environment.get(variable)
        source = f"--{field.name.replace('_', '-')}" if given[field.name] is not None else variable
        try:
            values[field.name] = _default(field) if value is None else _parse(field, value)
        except ValueError as error:
            parser.error(f"{source}: {value!r} {error}")
    try:
        return Settings(**values)
    except ValueError as error:
        parser.error(str(error))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.name == "identity":
        return f"{socket.gethostname()}-{secrets.token_hex(3)}"
    return field.default


def _parse(field: dataclasses.Field[Any], text: str) -> Any:
    kind = type(_default(field))
    if kind is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if field.name == "log_level":
        if text.lower() not in ("debug", "info", "warning", "error"):
            raise ValueError("is none of debug, info, warning, error")
        return text.lower()
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("is neither true nor false")
        return text.lower() == "true"
    if kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(f"is not a number{' of seconds' if kind is float else ''}") from None
        if not 0 <= value < float("inf"):
            raise ValueError("must not be negative or infinite")
        return value
    return text


if __name__ == "__main__":
    sys.exit(main())
