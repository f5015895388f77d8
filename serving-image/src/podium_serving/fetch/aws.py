"""The AWS_* variables, checked before the S3 client sees them: it panics on many a value that a Secret may hold."""

import re
from collections.abc import Mapping, MutableMapping

from podium_serving.fetch.config import Config
from podium_serving.fetch.errors import FetchError, Reason

_ENDPOINT = re.compile(
    r"(?i:https?)://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?(/[-A-Za-z0-9._~%!$&'()*+,;=:@/]*)?"
)
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_METADATA = "AWS_METADATA_ENDPOINT"
_RELATIVE = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"


def prepare(config: Config, variables: MutableMapping[str, str]) -> None:
    """Strips the AWS_* variables and raises FetchError for one that cannot be right.

    A Secret made of files or by echo ends its values with a line break. They are stripped in place, for obstore reads
    the environment by itself as well.
    """
    for name in [each for each in variables if each.startswith("AWS_")]:
        variables[name] = variables[name].strip()
        if not variables[name]:
            del variables[name]  # obstore takes an empty endpoint for one
        elif name.upper() == _METADATA or (name.upper() == _RELATIVE and not variables[name].startswith("/")):
            # The node is never asked. And obstore appends the path to a host: "@" would make another host of that.
            del variables[name]
    for name in _ENDPOINTS:
        endpoint = variables.get(name, "")
        match = _ENDPOINT.fullmatch(endpoint)
        if endpoint and (not match or int(match["port"] or 0) > 65535):
            raise _wrong(
                config,
                f"{name} is {_without_secrets(endpoint)!r}",
                "expected http:// or https://, a host and perhaps a port, such as http://minio.storage:9000",
            )
    for name in (*_REGIONS, *_CREDENTIALS):
        value = variables.get(name, "")
        if any(ord(each) < 0x20 or ord(each) == 0x7F for each in value):
            what = f"{name} is {value!r}" if name in _REGIONS else name
            raise _wrong(config, what, "holds a line break or another control character; write it anew")


def endpoint_of(variables: Mapping[str, str]) -> tuple[str, str]:
    """The variable that names the endpoint, S3's own before the one for all services; and its value, "" for AWS."""
    for name in _ENDPOINTS:
        if variables.get(name):
            return name, variables[name]
    return _ENDPOINTS[-1], ""


def region_of(variables: Mapping[str, str]) -> tuple[str, str]:
    """The variable that names the region, and its value, "" where none is set."""
    for name in _REGIONS:
        if variables.get(name):
            return name, variables[name]
    return _REGIONS[0], ""


def identified(variables: Mapping[str, str]) -> bool:
    """Whether they hold keys, or an identity that obstore gets keys for. With half of one it would ask the node."""
    wholes = (
        ("AWS_ACCESS_KEY_ID",),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        (_RELATIVE,),
    )
    return any(all(variables.get(name) for name in whole) for whole in wholes)


def origin(config: Config) -> str:
    """Where a person finds the AWS_* variables."""
    return f"Secret {config.secret}" if config.secret else "spec.model.credentialsSecret"


def _wrong(config: Config, what: str, expected: str) -> FetchError:
    return FetchError(Reason.InvalidConfiguration, f"{config.shown_uri}: {what} ({origin(config)}): {expected}")


def _without_secrets(endpoint: str) -> str:
    return re.split(r"[?#]", endpoint)[0].rsplit("@", 1)[-1]
