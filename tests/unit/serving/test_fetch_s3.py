"""s3:// against a real S3 server (versitygw), and against scripted answers that no such server gives on demand."""

import hashlib
import http.server
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from tests.cluster.binaries import versitygw
from tests.cluster.ports import reserve
from tests.unit.serving.harness import Fetched, fetch
from tests.unit.serving.web import Script, certificates, reply, web

ACCESS, SECRET = "AKIAPODIUMTEST", "a-secret-that-must-never-be-logged"


@dataclass(frozen=True)
class Bucket:
    endpoint: str
    folder: Path

    def put(self, key: str, content: bytes) -> None:
        store = S3Store(
            "models",
            endpoint=self.endpoint,
            access_key_id=ACCESS,
            secret_access_key=SECRET,
            region="us-east-1",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )
        obstore.put(store, key, content)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    folder = tmp_path_factory.mktemp("s3")
    (folder / "models").mkdir()
    (port,) = reserve(1)
    environment = {"PATH": os.environ["PATH"], "ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET}
    command = [versitygw(), "--port", f"127.0.0.1:{port}", "posix", folder]
    with (folder.parent / "versitygw.log").open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection(("127.0.0.1", int(port))).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline, (folder.parent / "versitygw.log").read_text()
                    time.sleep(0.02)
            yield Bucket(f"http://127.0.0.1:{port}", folder)
        finally:
            process.terminate()
            process.wait()


def fetch_s3(tmp_path: Path, uri: str, endpoint: str, **variables: object) -> Fetched:
    settings: dict[str, object] = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "PODIUM_CREDENTIALS_SECRET": "s3-models",
    }
    result = fetch(tmp_path, uri, **settings | variables)
    assert SECRET not in result.output
    assert SECRET not in str(result.message)
    assert ACCESS not in result.output
    return result


def test_an_object_is_fetched(tmp_path: Path, bucket: Bucket) -> None:
    content = os.urandom(20_000_000)
    bucket.put("fraud/7/model.onnx", content)
    pin = hashlib.sha256(content).hexdigest()
    result = fetch_s3(tmp_path, "s3://models/fraud/7/model.onnx", bucket.endpoint, PODIUM_MODEL_SHA256=pin)
    assert result.code == 0, result.output
    assert (tmp_path / "models" / "model" / "model.onnx").read_bytes() == content
    assert result.message["digest"] == f"sha256:{pin}"
    assert result.message["bytes"] == 20_000_000


@pytest.mark.parametrize("uri", ["s3://models/folder", "s3://models/folder/"])
def test_a_prefix_is_fetched_as_a_folder(tmp_path: Path, bucket: Bucket, uri: str) -> None:
    bucket.put("folder/model.onnx", b"one")
    bucket.put("folder/deep/er/weights with space", b"two")
    bucket.put("folder-other/not-mine", b"three")
    result = fetch_s3(tmp_path, uri, bucket.endpoint)
    assert result.code == 0, result.output
    assert (tmp_path / "models" / "model" / "model.onnx").read_bytes() == b"one"
    assert (tmp_path / "models" / "model" / "deep" / "er" / "weights with space").read_bytes() == b"two"
    assert (result.message["files"], result.message["bytes"]) == (2, 6)


def test_one_object_below_a_prefix_is_a_file_for_layout_file(tmp_path: Path, bucket: Bucket) -> None:
    bucket.put("store/fraud.mar", b"archive")
    path = tmp_path / "models" / "fraud.mar"
    variables = {"PODIUM_MODEL_LAYOUT": "File", "PODIUM_MODEL_PATH": path}
    assert fetch_s3(tmp_path, "s3://models/store", bucket.endpoint, **variables).code == 0
    assert path.read_bytes() == b"archive"


def test_a_key_that_does_not_exist_is_permanent(tmp_path: Path, bucket: Bucket) -> None:
    result = fetch_s3(tmp_path, "s3://models/nothing/7", bucket.endpoint)
    assert (result.code, result.message["reason"]) == (65, "NotFound")
    assert "s3://models/nothing/7: no object of that key and none under it as a folder" in result.message["message"]


@pytest.mark.parametrize("key", ["a//b", "/a", "a/./b", "./a", "a//"])
def test_a_key_that_the_client_cannot_ask_for_is_permanent(tmp_path: Path, key: str) -> None:
    result = fetch_s3(tmp_path, f"s3://models/{key}", "http://127.0.0.1:1")
    assert (result.code, result.message["reason"]) == (65, "BadURI")
    assert f"the key {key!r} has a part that is empty, '.' or '..'" in result.message["message"]


def test_a_bucket_that_does_not_exist_is_permanent(tmp_path: Path, bucket: Bucket) -> None:
    result = fetch_s3(tmp_path, "s3://nobodys/fraud/7", bucket.endpoint)
    assert (result.code, result.message["reason"]) == (65, "NoSuchBucket")


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_permanent_and_name_the_secret(tmp_path: Path, bucket: Bucket, variable: str) -> None:
    bucket.put("fraud/8/model.onnx", b"one")
    result = fetch_s3(tmp_path, "s3://models/fraud/8", bucket.endpoint, **{variable: "wrong"})
    assert (result.code, result.message["permanent"]) == (65, True)
    assert result.message["reason"] in ("Unauthorized", "Forbidden")
    assert "check the credentials in the Secret s3-models" in result.message["message"]


def test_no_credentials_at_all_are_told_what_to_set(tmp_path: Path, bucket: Bucket) -> None:
    bucket.put("fraud/8/model.onnx", b"one")
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "PODIUM_CREDENTIALS_SECRET": ""}
    result = fetch_s3(tmp_path, "s3://models/fraud/8", bucket.endpoint, **nothing)
    assert (result.code, result.message["reason"]) == (65, "Forbidden")
    assert "set spec.model.credentialsSecret to a Secret" in result.message["message"]


def test_line_breaks_around_the_values_of_a_secret_do_no_harm(tmp_path: Path, bucket: Bucket) -> None:
    bucket.put("fraud/9/model.onnx", b"one")
    broken = {
        "AWS_ACCESS_KEY_ID": f"{ACCESS}\n",
        "AWS_SECRET_ACCESS_KEY": f"{SECRET}\r\n",
        "AWS_REGION": " us-east-1\n",
    }
    result = fetch_s3(tmp_path, "s3://models/fraud/9", f"{bucket.endpoint}\n", **broken)
    assert result.code == 0, result.output


@pytest.mark.parametrize(
    "endpoint",
    [
        "minio:9000", "ftp://store", "http://", "http:/store", "//store", "http://two words", "http://store/two words",
        "http://store:99999", "http://[::1", "http://störe", "http://store\\", "http://a\nb",
    ],
)  # fmt: skip
def test_an_endpoint_that_is_no_url_is_permanent_and_told(tmp_path: Path, endpoint: str) -> None:
    result = fetch_s3(tmp_path, "s3://models/fraud/7", endpoint)
    assert (result.code, result.message["reason"]) == (65, "InvalidConfiguration"), result.output
    assert result.message["message"] == (
        f"s3://models/fraud/7: AWS_ENDPOINT_URL is {endpoint!r} (Secret s3-models): "
        "expected http:// or https://, a host and perhaps a port, such as http://minio.storage:9000"
    )


def test_a_password_in_an_endpoint_is_not_told(tmp_path: Path) -> None:
    result = fetch_s3(tmp_path, "s3://models/fraud/7", "https://user:pa55@store:9000")
    assert (result.code, result.message["reason"]) == (65, "InvalidConfiguration")
    assert "AWS_ENDPOINT_URL is 'store:9000'" in result.message["message"]
    assert "pa55" not in result.output


@pytest.mark.parametrize(
    "variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"]
)
def test_a_line_break_inside_a_value_is_permanent_and_names_the_variable(tmp_path: Path, variable: str) -> None:
    values = {"AWS_REGION": "", variable: "one\nlaterpart"}
    result = fetch_s3(tmp_path, "s3://models/fraud/7", "http://127.0.0.1:1", **values)
    assert (result.code, result.message["reason"]) == (65, "InvalidConfiguration"), result.output
    assert variable in result.message["message"]
    assert "(Secret s3-models): holds a line break" in result.message["message"]
    assert ("laterpart" in result.output) is variable.endswith("REGION")


def test_the_endpoint_of_s3_alone_goes_before_the_one_of_all_services(tmp_path: Path, bucket: Bucket) -> None:
    bucket.put("fraud/10/model.onnx", b"one")
    own = {"AWS_ENDPOINT_URL_S3": bucket.endpoint}
    assert fetch_s3(tmp_path, "s3://models/fraud/10", "http://127.0.0.1:1", **own).code == 0
    wrong = fetch_s3(tmp_path / "c", "s3://models/fraud/10", bucket.endpoint, AWS_ENDPOINT_URL_S3="minio:9000")
    assert "AWS_ENDPOINT_URL_S3 is 'minio:9000' (Secret s3-models)" in wrong.message["message"]
    gone = fetch_s3(tmp_path / "b", "s3://models/fraud/10", bucket.endpoint, AWS_ENDPOINT_URL_S3="http://127.0.0.1:1")
    assert "cannot connect to http://127.0.0.1:1 (AWS_ENDPOINT_URL_S3, Secret s3-models)" in gone.message["message"]


def in_another_region(*, told_by: str) -> Script:
    """What S3 says of a bucket in eu-central-1 to who signs for another region, and to who may not even ask."""
    header = {"x_amz_bucket_region": "eu-central-1"}

    def script(handler: http.server.BaseHTTPRequestHandler) -> None:
        malformed = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region></Error>"
        redirect = b"<Error><Code>PermanentRedirect</Code><Endpoint>models.s3.amazonaws.com</Endpoint></Error>"
        if told_by == "header":
            asks_bucket = handler.path in ("/models", "/models/")
            reply(301, redirect, **(header if asks_bucket else {}))(handler)
        elif told_by == "body":
            reply(400, malformed)(handler)
        else:
            reply(301, redirect)(handler)

    return script


@pytest.mark.parametrize("told_by", ["header", "body"])
@pytest.mark.parametrize("region", ["us-east-1", ""])
def test_a_wrong_region_is_told_with_the_right_one(tmp_path: Path, told_by: str, region: str) -> None:
    with web(in_another_region(told_by=told_by)) as server:
        result = fetch_s3(tmp_path, "s3://models/fraud/7", server.url, AWS_REGION=region)
    assert (result.code, result.message["reason"]) == (65, "Rejected")
    given = f"AWS_REGION is '{region}'" if region else "AWS_REGION is not set"
    assert result.message["message"] == (
        f"s3://models/fraud/7: the bucket is in the region eu-central-1, and {given}; "
        "set AWS_REGION to eu-central-1 (Secret s3-models)"
    )


def test_a_wrong_region_that_the_store_does_not_tell_still_names_the_variable(tmp_path: Path) -> None:
    with web(in_another_region(told_by="nobody")) as server:
        result = fetch_s3(tmp_path, "s3://models/fraud/7", server.url, AWS_REGION="", AWS_DEFAULT_REGION="eu-west-1")
    assert (result.code, result.message["reason"]) == (65, "Rejected")
    assert "AWS_DEFAULT_REGION is 'eu-west-1'; set AWS_REGION to it" in result.message["message"]


def test_a_real_store_tells_its_region(tmp_path: Path, bucket: Bucket) -> None:
    bucket.put("fraud/11/model.onnx", b"one")
    result = fetch_s3(tmp_path, "s3://models/fraud/11", bucket.endpoint, AWS_REGION="eu-west-3")
    assert (result.code, result.message["reason"]) == (65, "Rejected"), result.output
    assert "AWS_REGION is 'eu-west-3'; set AWS_REGION to us-east-1" in result.message["message"]


def test_an_object_overwritten_in_a_real_store_while_it_is_read_is_fetched_anew(tmp_path: Path, bucket: Bucket) -> None:
    """By way of a proxy, since the signature covers the host: it overwrites the object between HEAD and GET."""
    bucket.put("fraud/12/model.onnx", b"old model")
    asked: list[str] = []

    def script(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(handler.command)
        if asked.count("GET") == 1 and handler.command == "GET":
            bucket.put("fraud/12/model.onnx", b"new model")
        request = urllib.request.Request(handler.path, headers=dict(handler.headers), method=handler.command)
        try:
            with urllib.request.urlopen(request) as answer:
                headers = {name.replace("-", "_"): answer.headers[name] for name in ("ETag", "Last-Modified")}
                size = int(answer.headers["Content-Length"])
                reply(answer.status, answer.read(), announced=size, **headers)(handler)
        except urllib.error.HTTPError as refused:
            reply(refused.code, refused.read())(handler)

    with web(script) as server:
        variables = {"HTTP_PROXY": server.url, "PODIUM_FETCH_ATTEMPTS": 2}
        result = fetch_s3(tmp_path, "s3://models/fraud/12/model.onnx", bucket.endpoint, **variables)
    assert (result.code, result.message["attempts"]) == (0, 2), result.output
    assert (tmp_path / "models" / "model" / "model.onnx").read_bytes() == b"new model"


def test_a_panic_of_the_client_is_permanent_and_told_in_the_termination_message(tmp_path: Path) -> None:
    result = fetch_s3(tmp_path, "s3://mod els/fraud/7", "http://127.0.0.1:1")
    assert (result.code, result.message["reason"]) == (65, "InvalidConfiguration")
    assert "the S3 client cannot work with this URI and these variables" in result.message["message"]


def test_a_credential_that_a_message_repeats_is_hidden_unless_it_is_too_short_to_be_one(tmp_path: Path) -> None:
    def said(variable: str, value: str) -> str:
        result = fetch_s3(tmp_path, f"s3://models/{value}", "http://127.0.0.1:1", **{variable: value})
        return str(result.message["message"])

    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        assert said(variable, "minioadm").startswith("s3://models/***: cannot connect")
        assert said(variable, "admin").startswith("s3://models/admin: cannot connect")


def xml(status: int, code: str) -> Script:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{SECRET}</Message></Error>"
    return reply(status, body.encode(), Content_Type="application/xml")


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        (xml(403, "AccessDenied"), 65, "Forbidden"),
        (xml(403, "InvalidAccessKeyId"), 65, "Unauthorized"),
        (xml(403, "SignatureDoesNotMatch"), 65, "Unauthorized"),
        (xml(401, "AccessDenied"), 65, "Unauthorized"),
        (xml(400, "ExpiredToken"), 65, "Unauthorized"),
        (xml(404, "NoSuchBucket"), 65, "NoSuchBucket"),
        (xml(429, "TooManyRequests"), 75, "TooManyRequests"),
        (xml(500, "InternalError"), 75, "ServerError"),
        (xml(503, "ServiceUnavailable"), 75, "ServerError"),
    ],
)
def test_answers_of_a_store_are_permanent_or_passing(tmp_path: Path, script: Script, code: int, reason: str) -> None:
    with web(script) as server:
        result = fetch_s3(tmp_path, "s3://models/fraud/7", server.url)
    assert (result.code, result.message["reason"]) == (code, reason)
    assert result.message["message"].startswith("s3://models/fraud/7: ")


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [("http://127.0.0.1:1", "ConnectFailed"), ("http://store.invalid", "NameResolution")],
)
def test_a_store_that_cannot_be_reached_is_a_passing_failure(tmp_path: Path, endpoint: str, reason: str) -> None:
    result = fetch_s3(tmp_path, "s3://models/fraud/7", endpoint)
    assert (result.code, result.message["reason"], result.message["permanent"]) == (75, reason, False)
    assert endpoint in result.message["message"]


def test_a_store_that_says_nothing_is_a_passing_failure(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        result = fetch_s3(tmp_path, "s3://models/fraud/7", endpoint, PODIUM_STALL_SECONDS=0.3)
    assert (result.code, result.message["reason"]) == (75, "Timeout")


def test_an_object_that_breaks_off_is_a_passing_failure(tmp_path: Path) -> None:
    dated = {"Last_Modified": "Sun, 22 Nov 2026 20:59:22 GMT", "ETag": '"x"'}
    with web(reply(200, b"model", announced=9, **dated)) as server:
        result = fetch_s3(tmp_path, "s3://models/fraud/7", server.url)
    assert (result.code, result.message["reason"]) == (75, "Incomplete")


def listed(sizes: dict[str, int]) -> bytes:
    """A store's listing of objects of these keys and sizes."""
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-11-22T20:59:22.000Z</LastModified>"
        f'<ETag>"x"</ETag><Size>{size}</Size></Contents>'
        for key, size in sizes.items()
    )
    return (
        f"<?xml version='1.0'?><ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode()
    )


def test_objects_that_only_mark_a_folder_are_no_files(tmp_path: Path) -> None:
    dated = {"Last_Modified": "Sun, 22 Nov 2026 20:59:22 GMT", "ETag": '"x"'}
    listing = listed({"fraud/7/": 0, "fraud/7/deep/": 0, "fraud/7/deep/model.onnx": 5})

    def script(handler: http.server.BaseHTTPRequestHandler) -> None:
        if "list-type" in handler.path:
            reply(200, listing)(handler)
        elif handler.path == "/models/fraud/7/deep/model.onnx":
            reply(200, b"model", **dated)(handler)
        else:
            reply(404)(handler)

    with web(script) as server:
        result = fetch_s3(tmp_path, "s3://models/fraud/7", server.url)
    assert (result.code, result.message["files"]) == (0, 1), result.output
    assert (tmp_path / "models" / "model" / "deep" / "model.onnx").read_bytes() == b"model"


@pytest.mark.parametrize("pages", [100, 101])
def test_a_prefix_of_too_many_objects_is_refused_while_it_is_listed(tmp_path: Path, pages: int) -> None:
    """What is listed is kept in memory, and the next page would be asked for as long as there is one."""
    more = b"<IsTruncated>true</IsTruncated><NextContinuationToken>next</NextContinuationToken>"
    last = listed({f"fraud/7/{number}": 5 for number in range(1000)})
    page = last.replace(b"<IsTruncated>false</IsTruncated>", more)
    asked: list[str] = []

    def script(handler: http.server.BaseHTTPRequestHandler) -> None:
        if "list-type" in handler.path:
            asked.append(handler.path)
            reply(200, page if len(asked) < pages else last)(handler)
        else:
            reply(404)(handler)

    with web(script) as server:
        result = fetch_s3(tmp_path, "s3://models/fraud/7", server.url)
    # Objects of scripts cannot be fetched.
    assert (result.code, result.message["reason"]) == (65, "NotFound" if pages == 100 else "TooLarge"), result.output
    assert pages == 100 or result.message["message"] == (
        "s3://models/fraud/7: more than 100000 objects lie under 'fraud/7/'; "
        "name the model's own folder in spec.model.uri, or pack the model into fewer files"
    )


@pytest.mark.parametrize("key", ["fraud/7//model.onnx", "fraud/7/./model.onnx", "fraud/7/../model.onnx"])
def test_an_object_that_cannot_be_laid_out_as_a_file_is_permanent(tmp_path: Path, key: str) -> None:
    def script(handler: http.server.BaseHTTPRequestHandler) -> None:
        (reply(200, listed({key: 5})) if "list-type" in handler.path else reply(404))(handler)

    with web(script) as server:
        result = fetch_s3(tmp_path, "s3://models/fraud/7", server.url)
    assert (result.code, result.message["reason"]) == (65, "UnsafePath"), result.output
    assert key in result.message["message"]


def test_a_store_with_an_authority_of_its_own_is_trusted_by_ca_crt(tmp_path: Path) -> None:
    tls = certificates(tmp_path)
    dated = {"Last_Modified": "Sun, 22 Nov 2026 20:59:22 GMT", "ETag": '"x"'}
    with web(reply(200, b"model", **dated), tls.server) as server:
        refused = fetch_s3(tmp_path, "s3://models/fraud/7", server.url)
        assert (refused.code, refused.message["reason"]) == (75, "TLSFailed")
        assert "ca.crt (Secret s3-models)" in refused.message["message"]
        trusted = fetch_s3(
            tmp_path,
            "s3://models/fraud/7",
            server.url,
            **{"ca.crt": tls.authority.read_text()},
        )
        assert trusted.code == 0, trusted.output
