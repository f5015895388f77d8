"""The version that a URI shows to people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.api.uris import parts, shown_version


@pytest.mark.parametrize(
    ("uri", "version"),
    [
        ("s3://models/fraud/7", "7"),
        ("s3://models/fraud/7/", "7"),
        ("s3://models/fraud/7//", "7"),
        ("s3://models/fraud/7/.", "7"),
        # what a file or folder is called whatever version it is
        ("s3://models/fraud/7/model.onnx", "7"),
        ("s3://models/fraud/7/Model.ONNX", "7"),
        ("s3://models/fraud/7/model.mar", "7"),
        ("s3://models/fraud/7/model.pt", "7"),
        ("s3://models/fraud/7/model.h5", "7"),
        ("s3://models/fraud/7/model.7z", "7"),
        ("s3://models/fraud/7/model.tar.gz", "7"),
        ("s3://models/fraud/7/model", "7"),
        ("s3://models/fraud/7/model/", "7"),
        ("s3://models/fraud/7/.onnx", "7"),
        ("s3://models/fraud/7/saved_model", "7"),
        ("s3://models/fraud/7/saved_model.pb", "7"),
        ("s3://models/fraud/7/pytorch_model.bin", "7"),
        ("s3://mlflow/1/4f5e0c/artifacts/model/model.onnx", "4f5e0c"),
        ("pvc://store/2026-03-01/model.onnx", "2026-03-01"),
        # a file that repeats what stands further up
        ("s3://models/fraud/7/fraud.onnx", "7"),
        ("s3://models/digits-torch/1/digits.mar", "1"),
        ("s3://fraud/7/fraud.onnx", "7"),
        # one that tells something
        ("s3://models/fraud/fraud-7.onnx", "fraud-7.onnx"),
        ("s3://models/fraud/champion.onnx", "champion.onnx"),
        ("s3://models/fraud/model-7.onnx", "model-7.onnx"),
        ("s3://models/fraud/model_v2.onnx", "model_v2.onnx"),
        ("s3://models/fraud/model.v2", "model.v2"),
        ("s3://models/fraud/model.v2.onnx", "model.v2.onnx"),
        ("s3://models/fraud/model.7", "model.7"),
        ("s3://models/fraud/v1.2", "v1.2"),
        ("s3://models/fraud/modeling", "modeling"),
        # query and fragment never
        ("https://host/fraud/7/model.onnx?version=8", "7"),
        ("https://host/fraud/7?x=/9", "7"),
        ("https://host/fraud/7#/9", "7"),
        ("https://host/fraud/7?a=b#c?d", "7"),
        ("s3://models/fraud/7/model.onnx?versionId=abc", "7"),
        # nothing better than what there is
        ("s3://models/model.onnx", "model.onnx"),
        ("https://host/model.onnx?x=1", "model.onnx"),
        ("https://host/models/model.onnx", "model.onnx"),
        ("pvc://claim", "claim"),
        ("s3://bucket/", "bucket"),
        ("s3://[bucket/7/model.onnx", "7"),
    ],
)
def test_it_is_the_last_telling_segment(uri: str, version: str) -> None:
    assert shown_version(None, uri) == version


def test_what_the_user_calls_it_comes_first_and_without_a_uri_there_is_none() -> None:
    assert shown_version("eight", "s3://models/fraud/7/model.onnx") == "eight"
    assert shown_version("eight", None) == "eight"
    assert shown_version(None, None) == ""


@given(st.text())
def test_any_text_shows_something_that_stands_in_it_and_nothing_of_its_query(text: str) -> None:
    path = text.split("?")[0].split("#")[0]

    version = shown_version(None, text)

    assert version in path
    assert "/" not in version
    assert parts(text) == parts(path)
