"""The model store of a cluster: an S3 endpoint that pods and the host reach at the same address."""

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from tests.cluster import typed
from tests.cluster.progress import ClusterError

BUCKET = "models"
REGION = "us-east-1"


@dataclass(frozen=True)
class Store:
    """Where the store is and who may use it."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str = BUCKET
    region: str = REGION

    @classmethod
    def of(cls, folder: Path, endpoint: str = "") -> Self:
        """The store of the cluster in `folder`; with `endpoint` its credentials are made if there are none yet."""
        file = folder / "store.json"
        if not file.exists():
            if not endpoint:
                raise ClusterError(f"no cluster in {folder}; `{typed.start(folder)}` starts one")
            cls(endpoint, "podium", secrets.token_hex(16)).save(folder)
        return cls(**json.loads(file.read_text()))

    def save(self, folder: Path) -> None:
        """Writes it down, for the owner alone to read."""
        file = folder / "store.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(asdict(self), indent=1))

    def environment(self) -> dict[str, str]:
        """The variables by which S3 clients find the store: also the content of a credentials Secret."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
        }

    def put(self, source: Path, uri: str) -> list[str]:
        """Uploads a file to s3://BUCKET/KEY (a key that ends with / gets the file's name), or a folder below it.

        Returns the URIs of what was written.
        """
        from obstore.store import S3Store

        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if not uri.startswith("s3://") or not bucket:
            raise ClusterError(f"{uri} is not of the form s3://BUCKET/KEY; the bucket here is {self.bucket}")
        if not source.exists():
            raise ClusterError(f"{source} does not exist")
        client = S3Store(
            bucket, endpoint=self.endpoint, region=self.region, access_key_id=self.access_key,
            secret_access_key=self.secret_key, virtual_hosted_style_request=False, client_options={"allow_http": True},
        )  # fmt: skip
        written = []
        for file in sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]:
            name = key
            if source.is_dir():
                name = f"{key.rstrip('/')}/{file.relative_to(source)}".lstrip("/")
            elif not key or key.endswith("/"):
                name = key + source.name
            client.put(name, file)
            written.append(f"s3://{bucket}/{name}")
        return written
