"""What the operator asks of the routers for one ModelDeployment, and the strict reading of it.

It is all that a router takes from a ConfigMap: never Envoy's own configuration, so that whoever may edit ConfigMaps can
move the weights of one ModelDeployment, and nothing else.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

VERSION: Final = 1
"""Of this format. A router that is older than the operator refuses a later one, and serves the last it understood.

It does the same with a field that it does not know, so a new field needs no new version if it is left out where it says
nothing: the text is then the older one's, byte by byte. Where it says something, a router that would ignore it would
give requests to the wrong revision, and its refusal keeps the weights from counting as applied until it is upgraded.
"""
WHOLE: Final = 10_000
LEAST_PORT, LAST_PORT = 20_000, 24_999
MOST_REVISIONS: Final = 8
LONGEST_SECONDS: Final = 86_400.0
LARGEST_BODY: Final = 2**40
NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
REVISION_END = re.compile(r"-[bcdfghjklmnpqrstvwxz2456789]{10}")
"""What a revision's name has after its ModelDeployment's. No Service of another kind is named so."""


# Of names that occur in regular expressions and substitutions of Envoy's: nothing that means something there.
HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
COOKIE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
SALT = re.compile(r"[A-Za-z0-9_.-]{1,128}")
STRIPPED: Final = ("x-podium-", "x-envoy-")
"""Beginnings of headers that routers take out of requests, in small letters."""


class RoutingError(ValueError):
    """What stands in a ConfigMap is no routing; the sentence names the field and its value."""


@dataclass(frozen=True)
class Share:
    """One revision's part of the requests."""

    revision: str
    """Name of a revision of the model, of its Service, and the value of the response header x-podium-revision."""
    weight: int
    """Of 10,000; 0 keeps it known to the routers, and gives it nothing."""


@dataclass(frozen=True)
class Sticky:
    """Whose requests go together: those with one value of a header or of a cookie. Exactly one of the two is named.

    A request that has none, or an empty one, is drawn for itself.
    """

    salt: str
    """Of the rollout: the same value falls on other sides of the split in the next one."""
    header: str | None = None
    cookie: str | None = None


@dataclass(frozen=True)
class Mirror:
    """Who sees copies of requests; what it answers is thrown away."""

    revision: str
    """One of the split, of weight 0: copies must not be counted with what callers were answered."""
    percent: int
    """Of all requests: 1 to 100."""


@dataclass(frozen=True)
class Routing:
    """One ModelDeployment at the routers: where it listens, and who answers."""

    model: str
    """Name of the ModelDeployment."""
    port: int
    """Its listener, which no other ModelDeployment of the namespace has."""
    split: tuple[Share, ...]
    """Weights sum to 10,000. The candidate comes first: whoever hashes to it stays there while its weight grows."""
    timeout: float = 60.0
    """Seconds for a whole answer; none for a stream of gRPC."""
    idle_timeout: float = 300.0
    """Seconds in which nothing moves, of a request or a stream."""
    max_request_bytes: int = 64 * 2**20
    """A request that announces more is refused with 413; one of unknown length is bounded by the model's server."""
    sticky: Sticky | None = None
    """None: each request is drawn for itself."""
    mirror: Mirror | None = None
    leaving: bool | None = None
    """True: the stable Service leads elsewhere, and callers that keep their connections are to end them; else None."""

    @classmethod
    def read(cls, text: str) -> Self:
        """From a ConfigMap. RoutingError for whatever `to_json` would not have written."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RoutingError(f"it is no JSON: {str(error)[:200]}") from error
        values = _object(found, "routing", {"version", *cls.__dataclass_fields__} - _OPTIONAL, _OPTIONAL)
        if values.pop("version") != VERSION:
            raise RoutingError(f"version is {found['version']!r}; this router reads version {VERSION}")
        shares = values.pop("split")
        if not isinstance(shares, list) or not 1 <= len(shares) <= MOST_REVISIONS:
            raise RoutingError(f"split must list 1 to {MOST_REVISIONS} revisions, not {_shown(shares)}")
        split = tuple(Share(**_object(share, "split", set(Share.__dataclass_fields__))) for share in shares)
        if "sticky" in values:
            values["sticky"] = Sticky(**_object(values["sticky"], "sticky", {"salt"}, {"header", "cookie"}))
        if "mirror" in values:
            values["mirror"] = Mirror(**_object(values["mirror"], "mirror", {"revision", "percent"}))
        routing = cls(split=split, **values)
        routing.check()
        return routing

    def check(self) -> None:
        """RoutingError where a value is none that a router may get."""
        _name("model", self.model)
        _whole("port", self.port, LEAST_PORT, LAST_PORT)
        for share in self.split:
            _revision(self.model, share.revision)
            _whole("split.weight", share.weight, 0, WHOLE)
        if len({share.revision for share in self.split}) != len(self.split):
            raise RoutingError("split names a revision twice")
        total = sum(share.weight for share in self.split)
        if total != WHOLE:
            raise RoutingError(f"the weights of split sum to {total}; they must sum to {WHOLE}")
        for field in ("timeout", "idle_timeout"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_SECONDS:
                raise RoutingError(
                    f"{field} must be seconds, above 0 and at most {LONGEST_SECONDS:g}, not {_shown(value)}"
                )
        _whole("max_request_bytes", self.max_request_bytes, 1, LARGEST_BODY)
        if self.sticky is not None:
            _sticky(self.sticky)
        if self.mirror is not None:
            _mirror(self.mirror, self.split)
        if self.leaving is not None and self.leaving is not True:
            raise RoutingError(f"leaving must be true or left out, not {_shown(self.leaving)}")

    def to_json(self) -> str:
        """As it stands in the ConfigMap; the same text for the same routing."""
        return json.dumps({"version": VERSION, **_said(asdict(self))}, sort_keys=True, separators=(",", ":"))


_OPTIONAL: Final = {"sticky", "mirror", "leaving"}
"""Fields that are left out where they say nothing."""


def _said(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _said(value) if isinstance(value, dict) else value for name, value in values.items() if value is not None
    }


def _sticky(sticky: Sticky) -> None:
    _like("sticky.salt", sticky.salt, SALT)
    named = [(name, value) for name in ("header", "cookie") if (value := getattr(sticky, name)) is not None]
    if len(named) != 1:
        raise RoutingError(f"sticky must name a header or a cookie, and not both; it names {len(named)}")
    ((name, value),) = named
    _like(f"sticky.{name}", value, HEADER if name == "header" else COOKIE)
    if name == "header" and value.lower().startswith(STRIPPED):
        raise RoutingError(f"sticky.header is {_shown(value)}, which routers take out of requests")


def _mirror(mirror: Mirror, split: tuple[Share, ...]) -> None:
    _whole("mirror.percent", mirror.percent, 1, 100)
    idle = [share.revision for share in split if not share.weight]
    if mirror.revision not in idle:
        raise RoutingError(f"mirror.revision must be one of split with weight 0, not {_shown(mirror.revision)}")


def _like(field: str, value: object, pattern: re.Pattern[str]) -> None:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise RoutingError(f"{field} must be like {pattern.pattern}, not {_shown(value)}")


def _object(value: object, what: str, fields: set[str], optional: Collection[str] = ()) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise RoutingError(f"{what} must be an object, not {_shown(value)}")
    if unknown := value.keys() - fields - set(optional):
        raise RoutingError(f"{what} has the unknown field {_shown(min(unknown))}")
    if missing := fields - value.keys():
        raise RoutingError(f"{what} lacks the field {min(missing)}")
    if empty := [name for name in optional if name in value and value[name] is None]:
        raise RoutingError(f"{what} has the field {min(empty)} without a value; leave it out")
    return dict(value)


def _name(field: str, value: object) -> None:
    if not isinstance(value, str) or NAME.fullmatch(value) is None:
        raise RoutingError(f"{field} must be a Kubernetes name of at most 63 characters, not {_shown(value)}")


def _revision(model: str, value: object) -> None:
    """Else it may be the Service of somebody else, or the stable one, which leads back to the routers."""
    _name("split.revision", value)
    own, end = str(value)[: len(model)], str(value)[len(model) :]
    if own != model or REVISION_END.fullmatch(end) is None:
        raise RoutingError(
            f"split.revision must be a revision of {model}, which is named {model}-, 10 letters and digits; "
            f"not {_shown(value)}"
        )


def _whole(field: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise RoutingError(f"{field} must be a whole number from {least} to {most}, not {_shown(value)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
