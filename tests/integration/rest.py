"""The API server over one connection that is kept open, for tests that ask it thousands of small questions."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from podium.api import names
from tests.client import session

Object = dict[str, Any]
PLURALS = {"ModelDeployment": "modeldeployments", "ModelRuntime": "modelruntimes"}
CRDS = Path(__file__).resolve().parents[2] / "crds"


@dataclass(frozen=True)
class Answer:
    """What the API server said: `causes` are (field, message), `warnings` the texts of its Warning headers."""

    code: int
    body: Object
    warnings: list[str]

    @property
    def causes(self) -> list[tuple[str, str]]:
        """The causes that name a field; the hint that CEL rules were not reached names none."""
        found = self.body.get("details", {}).get("causes", [])
        return [
            (cause.get("field", ""), cause["message"])
            for cause in found
            if "some validation rules" not in cause["message"]
        ]

    @property
    def ok(self) -> bool:
        """Whether it was accepted."""
        return self.code < 300


class Rest:
    """Podium's objects over HTTP, as the user of a kubeconfig file."""

    def __init__(self, kubeconfig: Path, scratch: Path) -> None:
        content = json.loads(kubeconfig.read_text())
        self._url = content["clusters"][0]["cluster"]["server"]
        user = content["users"][0]["user"]
        files = {
            "ca": content["clusters"][0]["cluster"]["certificate-authority-data"],
            "certificate": user["client-certificate-data"],
            "key": user["client-key-data"],
        }
        for name, data in files.items():
            (scratch / name).write_bytes(base64.b64decode(data))
        self._session = session()
        self._session.verify = str(scratch / "ca")
        self._session.cert = (str(scratch / "certificate"), str(scratch / "key"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def call(
        self,
        method: str,
        path: str,
        body: Object | bytes | None = None,
        *,
        content_type: str = "application/json",
        **parameters: str,
    ) -> Answer:
        """One request; any answer is returned."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        answer = self._session.request(
            method, self._url + path, params=parameters, data=data, headers={"Content-Type": content_type}, timeout=120
        )
        # 299 - "text", several in one header: requests joins them with commas.
        raw = answer.headers.get("Warning", "")
        return Answer(
            answer.status_code, answer.json(), [part.strip(' "') for part in raw.split("299 - ") if part.strip(' ",')]
        )

    def create(self, obj: Object, *, keep: bool = False, **parameters: str) -> Answer:
        """Create the object in the namespace `default`, or with `keep` false only ask whether it could be."""
        return self.call("POST", path_of(obj["kind"]), obj, **parameters | ({} if keep else {"dryRun": "All"}))

    def merge(self, kind: str, name: str, patch: Object, subresource: str = "", **parameters: str) -> Answer:
        """A JSON merge patch of an object or of its subresource."""
        path = path_of(kind, name, subresource)
        return self.call("PATCH", path, patch, content_type="application/merge-patch+json", **parameters)


def path_of(kind: str, name: str = "", subresource: str = "") -> str:
    """The path of a kind's objects, or of one of them."""
    namespace = "/namespaces/default" if kind == "ModelDeployment" else ""
    parts = [part for part in (name, subresource) if part]
    return "/".join([f"/apis/{names.API_VERSION}{namespace}/{PLURALS[kind]}", *parts])


def new(kind: str, spec: Any = None, name: str = "fraud") -> Object:
    """An object of a kind; without a spec where `spec` is None."""
    obj = {"apiVersion": names.API_VERSION, "kind": kind, "metadata": {"name": name}}
    return obj if spec is None else obj | {"spec": spec}
