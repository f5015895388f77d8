"""What a file is that is no ONNX model, told from its first bytes: for messages, never to let a file through."""

from dataclasses import dataclass

HEAD_BYTES = 1024
_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class Kind:
    """`name` completes "it is ..."; `way_out` says what to do; `never_a_model` holds for every runtime."""

    name: str
    way_out: str
    never_a_model: bool = False


EMPTY = Kind("empty (0 bytes)", "upload the model again", never_a_model=True)
LFS_POINTER = Kind(
    "a Git LFS pointer, not the file that it stands for",
    "run `git lfs pull` before the model is uploaded",
    never_a_model=True,
)
WEB_PAGE = Kind(
    "a web page, perhaps one to sign in",
    "use a link that downloads the file without signing in, such as a presigned one",
    never_a_model=True,
)
_EXPORT = "export the model to ONNX"
_BY_MAGIC = (
    (b"PK\x03\x04", 0, Kind("a zip archive, as PyTorch's torch.save writes", f"{_EXPORT} with torch.onnx.export")),
    (b"\x80\x02\x8a\x0a\x6c\xfc\x9c", 0, Kind("a PyTorch file of old form", f"{_EXPORT} with torch.onnx.export")),
    (b"\x89HDF\r\n\x1a\n", 0, Kind("an HDF5 file, as Keras writes", f"{_EXPORT} with tf2onnx")),
    (b"TFL3", 4, Kind("a TensorFlow Lite model", f"{_EXPORT} with tf2onnx")),
    (b"GGUF", 0, Kind("a GGUF model", "serve it with a runtime for language models")),
    (b"\x1f\x8b", 0, Kind("compressed with gzip", "upload it uncompressed")),
    (b"\x28\xb5\x2f\xfd", 0, Kind("compressed with zstd", "upload it uncompressed")),
    (b"BZh", 0, Kind("compressed with bzip2", "upload it uncompressed")),
    (b"\xfd7zXZ\x00", 0, Kind("compressed with xz", "upload it uncompressed")),
    (b"ustar", 257, Kind("a tar archive", "unpack it before the model is uploaded")),
    (b'{"', 8, Kind("a safetensors file: weights without a graph", _EXPORT)),
)
_PICKLE = Kind("a Python pickle, as joblib and scikit-learn write", f"{_EXPORT} with skl2onnx")
_XML = Kind("an XML document", "look at what the store holds there")
_JSON = Kind("a JSON document", "look at what the store holds there")


def of(head: bytes) -> Kind | None:
    """What a file with these first HEAD_BYTES (all of a shorter file) is; None for what may be a model."""
    if not head:
        return EMPTY
    if head.startswith(_LFS):
        return LFS_POINTER
    for magic, offset, kind in _BY_MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _PICKLE
    return _of_text(head.removeprefix(b"\xef\xbb\xbf").lstrip().lower())


def _of_text(text: bytes) -> Kind | None:
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<!-- ")) or (
        text.startswith(b"<?xml") and b"<html" in text
    ):
        return WEB_PAGE
    if text.startswith(b"<?xml"):
        return _XML
    return _JSON if text.startswith((b'{"', b"{\n", b"[{")) else None
