"""What a file is that is no ONNX model, told from its first bytes: for messages, never to let a file through."""

import json
import re
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
ERROR_MESSAGE = Kind(
    "an error message of a store or a web server, saved in the model's place",
    "use a link that downloads the file itself, or upload the model again",
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
    (b"%PDF-", 0, Kind("a PDF document", "use a link that downloads the model itself", never_a_model=True)),
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
    return _of_text(_decoded(head).strip().lower(), whole=len(head) < HEAD_BYTES)


def _decoded(head: bytes) -> bytes:
    """The text as UTF-8, without a byte order mark."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "ignore").encode("utf-8", "ignore")
    return head.removeprefix(b"\xef\xbb\xbf")


# What may stand before the first tag of a page or document; a comment may reach beyond the first bytes.
_PROLOG = re.compile(rb"(?:<\?.*?\?>|<!--.*?(?:-->|\Z)|<!doctype (?!html)[^>\[]*>|\s+)*", re.DOTALL)
_PAGE = re.compile(
    rb"<!doctype html|<(?:html|head|body|title|script|noscript|style|meta|link|base|iframe|frameset|center|div|span"
    rb"|form|h[1-6]|p|br|pre)(?![\w:.-])"
)
# S3 and Azure; what a bucket answers whose listing is public; a SOAP service.
_XML_ANSWER = re.compile(rb"<(?:error|errorresponse|errors|listbucketresult|enumerationresults|\w+:envelope)[\s/>]")
_ELEMENT = re.compile(rb"<[a-z_][\w:.-]*[\s/>]")
# A text as short as an answer is, in the words of stores, gateways and hubs.
_LONGEST_LINE = 300
_REFUSAL = re.compile(
    rb"not[ _]?found|denied|forbidden|unauthori[sz]ed|unauthenticated|bad (?:gateway|request)"
    rb"|no such (?:key|bucket|file)|service unavailable|too many requests|gateway time-?out|internal server error"
    rb"|no healthy upstream|upstream connect error|default backend|error code: \d"
    rb"|invalid (?:token|credentials|username)|\bexpired\b"
)
_ERROR_FIRST = re.compile(rb'\{\s*"error[a-z_]*"\s*:')
_ERRORS = {"error", "errors", "error_code", "errorcode", "error_message", "errormessage", "fault", "exception"}
# Objects of nothing but these, one of the first line among them, tell what went wrong.
_SAID = {"message", "detail", "title", "msg"}
_AROUND = {
    "code", "status", "statuscode", "status_code", "success", "ok", "type", "instance", "reason", "path", "timestamp",
    "requestid", "request_id", "traceid", "documentation_url", "__type",
}  # fmt: skip


def _of_text(text: bytes, whole: bool) -> Kind | None:
    """`text` in lower case, without space around it; `whole` says that nothing follows."""
    if text.startswith(b"<"):
        return _of_markup(text)
    if text.startswith((b"{", b"[")) and _is_error(text, whole):
        return ERROR_MESSAGE
    if text.startswith((b'{"', b"{\n", b"{\r\n", b"[{")):
        return _JSON
    if whole and len(text) <= _LONGEST_LINE and _is_plain(text) and _REFUSAL.search(text):
        return ERROR_MESSAGE
    return None


def _of_markup(text: bytes) -> Kind | None:
    start = _PROLOG.match(text)
    rest = text[start.end() if start else 0 :]
    if _PAGE.match(rest) or (text.startswith(b"<?xml") and b"<html" in text):
        return WEB_PAGE
    if _XML_ANSWER.match(rest):
        return ERROR_MESSAGE
    if text.startswith(b"<?xml") or _ELEMENT.match(rest):
        return _XML
    # Nothing but a comment: who writes a page begins like this, and no model does.
    return WEB_PAGE if text.startswith(b"<!--") else None


def _is_error(text: bytes, whole: bool) -> bool:
    """Whether JSON tells what went wrong; of a long one only how it begins is known."""
    if _ERROR_FIRST.match(text):
        return True
    try:
        content = json.loads(text) if whole else None
    except ValueError:
        return False
    if not isinstance(content, dict):
        return False
    keys = set(content)
    return bool(keys & _ERRORS or (keys & _SAID and keys <= _SAID | _AROUND))


def _is_plain(text: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in text)
