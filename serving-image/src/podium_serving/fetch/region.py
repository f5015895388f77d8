"""A bucket in another region than AWS_REGION says: S3 tells which, if it is asked the right way."""

import http.client
import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from podium_serving.fetch.aws import endpoint_of, origin, region_of
from podium_serving.fetch.config import Config, Location
from podium_serving.fetch.connect import connect
from podium_serving.fetch.errors import FetchError, Reason

_WRONG = re.compile(
    r"without LOCATION|<Code>(PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraintException)</Code>"
)
_TOLD = re.compile(r"<Region>([a-z0-9-]+)</Region>|(?:the region '[^']*' is wrong; expecting '([a-z0-9-]+)')")
UNKNOWN = "another one, which the store does not tell"


def told_region(config: Config, location: Location, variables: Mapping[str, str], answer: str) -> str:
    """The region that the bucket is in if the store's answer says that ours is wrong, else ""."""
    told = _TOLD.search(answer)
    if told:
        region = told[1] or told[2]
        return "" if region == region_of(variables)[1] else region
    if not _WRONG.search(answer):
        return ""
    return _asked(config, location, variables) or UNKNOWN


def wrong_region(config: Config, variables: Mapping[str, str], region: str) -> FetchError:
    """The failure, with what to set."""
    name, given = region_of(variables)
    given = f"{name} is {given!r}" if given else f"{name} is not set"
    to = "it" if region == UNKNOWN else region
    return FetchError(
        Reason.Rejected,
        f"{config.shown_uri}: the bucket is in the region {region}, and {given}; set AWS_REGION to {to} "
        f"({origin(config)})",
    )


def _asked(config: Config, location: Location, variables: Mapping[str, str]) -> str:
    """The header that S3 sends with every answer about a bucket, also to who may not read it; "" without an answer."""
    endpoint = endpoint_of(variables)[1] or f"https://s3.{region_of(variables)[1] or 'us-east-1'}.amazonaws.com"
    parts = urlsplit(endpoint)
    try:
        # Endpoints of s3:// may be inside the cluster: whoever may name one may also connect to it.
        connection, proxy = connect(config, parts.scheme, parts.hostname or "", parts.port, endpoint, checked=False)
    except (FetchError, OSError, ValueError):
        return ""
    target = f"{parts.path.rstrip('/')}/{quote(location.host)}"
    try:
        headers = proxy.headers if proxy else {}
        connection.request("HEAD", f"http://{parts.netloc}{target}" if proxy else target, headers=headers)
        region = connection.getresponse().headers.get("x-amz-bucket-region", "")
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
    return region if re.fullmatch(r"[a-z0-9-]+", region) else ""
