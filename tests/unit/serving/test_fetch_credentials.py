"""Requests are signed with what the Secret or the pod's service account gives, and never with the node's own rights."""

import http.server
import json
from pathlib import Path

import pytest

from podium_serving.fetch.aws import prepare
from podium_serving.fetch.config import Config
from tests.unit.serving.harness import environment
from tests.unit.serving.test_fetch_s3 import fetch_s3
from tests.unit.serving.web import Script, reply, web

DATED = {"Last_Modified": "Sun, 22 Nov 2026 20:59:22 GMT", "ETag": '"x"'}
KEYLESS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
KEYS = {
    "Code": "Success",
    "AccessKeyId": "TEMPORARY",
    "SecretAccessKey": "x",
    "Token": "t",
    "Expiration": "2036-01-01T00:00:00Z",
}


def recording(signatures: list[str]) -> Script:
    def script(handler: http.server.BaseHTTPRequestHandler) -> None:
        signatures.append(handler.headers.get("Authorization", ""))
        reply(200, b"model", **DATED)(handler)

    return script


@pytest.mark.parametrize(
    "half",
    [
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/token"},
        {"AWS_ROLE_ARN": "arn:aws:iam::1:role/a"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"},
        {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/var/run/secrets/token"},
        {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "@127.0.0.1:1/a"},
        {},
    ],
)
def test_half_of_an_identity_is_none_and_the_node_is_not_asked(tmp_path: Path, half: dict[str, str]) -> None:
    signatures: list[str] = []
    with web(recording(signatures)) as store:
        variables = KEYLESS | {"AWS_METADATA_ENDPOINT": "http://127.0.0.1:1"} | half
        result = fetch_s3(tmp_path, "s3://models/fraud/7", store.url, **variables)
    assert result.code == 0, result.output
    assert set(signatures) == {""}


@pytest.mark.parametrize("name", ["AWS_METADATA_ENDPOINT", "AWS_metadata_endpoint"])
def test_nobody_says_where_the_nodes_metadata_are(name: str) -> None:
    config = Config.from_environment(environment(PODIUM_MODEL_URI="s3://models/fraud/7"))
    variables = {name: "http://127.0.0.1:1", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v1"}
    prepare(config, variables)
    assert variables == {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v1"}


@pytest.mark.parametrize("beside", [{}, {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "@127.0.0.1:1/a"}])
def test_the_pods_own_identity_is_asked_for_credentials(tmp_path: Path, beside: dict[str, str]) -> None:
    """As the agent of EKS Pod Identity gives them."""
    signatures: list[str] = []
    (tmp_path / "token").write_text("a token")
    with web(recording(signatures)) as store, web(reply(200, json.dumps(KEYS).encode())) as agent:
        variables = (
            KEYLESS
            | beside
            | {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{agent.url}/v1/credentials",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"),
            }
        )
        result = fetch_s3(tmp_path, "s3://models/fraud/7", store.url, **variables)
        assert result.code == 0, result.output
        assert all("Credential=TEMPORARY/" in each for each in signatures)
        assert agent.seen[0] == "GET /v1/credentials"
