"""A task's data value -> where its picture is.

The values that Label Studio 1.23 hands out: `/data/upload/...` and `/data/local-files/?d=...`, relative to its
own address; `s3://`, `gs://` and `azure-blob://`, which its resolver turns into a signed URL or streams; http(s)
URLs; `data:` URIs (RFC 2397).
"""

import base64
import binascii
import re
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit, urlunsplit

from sam_backend.errors import BrokenImageError, ImageError, ImageForbiddenError, ImageTooLargeError
from sam_backend.label_studio.credentials import origin_of

CLOUD_SCHEMES = ("s3", "gs", "azure-blob")
EXPECTED = "expected /data/..., an http(s) URL, s3://, gs://, azure-blob:// or a data: URI"
SHOWN_CHARACTERS = 200

# The addresses of Label Studio that serve pictures of tasks; a token is of no use elsewhere.
_TASK_DATA_PATH = re.compile(r"/(data|storage-data|(tasks|projects)/[0-9]+/(resolve|presign))/")


def shown(uri: str) -> str:
    """`uri` as it may stand in a message: without password, signature or picture bytes, and not too long."""
    if uri[:5].lower() == "data:":
        return f"{uri.partition(',')[0][:60]},..."
    try:
        parts = urlsplit(uri)
    except ValueError:
        parts = None
    if parts is not None and parts.scheme:
        query = "..." if parts.query else ""  # signed URLs keep their secret there
        uri = without_user(urlunsplit((parts.scheme, parts.netloc, parts.path, query, "")))
    return uri if len(uri) <= SHOWN_CHARACTERS else f"{uri[:SHOWN_CHARACTERS]}..."


def url_of(uri: str, base_url: str | None, task_id: int | None = None, project_id: int | None = None) -> str:
    """The http(s) URL behind a data value; `base_url` is Label Studio's address, with its path prefix.

    Raises:
        ImageForbiddenError: a scheme or server path that is not fetched.
        ImageError: no address at all, or Label Studio's own address is needed and not known.
    """
    scheme = uri.partition(":")[0].lower() if "://" in uri else ""
    if scheme in ("http", "https"):
        return http_url(uri)
    if scheme and scheme not in CLOUD_SCHEMES:
        raise ImageForbiddenError(f"the image {shown(uri)!r} cannot be fetched: {EXPECTED}")
    if scheme:
        path = _resolver_path(uri, task_id, project_id)
    else:
        path = _quoted(_without_public_prefix(_without_prefix(uri, base_url)))
        if not _is_task_data_path(path):
            raise ImageForbiddenError(f"the image {shown(uri)!r} cannot be fetched: {EXPECTED}")
    if base_url is None:
        raise ImageError(
            f"the image {shown(uri)!r} is served by Label Studio, whose address is not known: set LABEL_STUDIO_URL"
        )
    return base_url + path


def http_url(uri: str) -> str:
    """An http(s) URL as it can be asked for: encoded, without the fragment.

    Raises:
        ImageError: no http(s) address.
    """
    try:
        origin_of(uri)
    except ValueError as error:
        raise ImageError(f"the image {shown(uri)!r} is not a valid http(s) address") from error
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc, _quoted(parts.path) or "/", _quoted(parts.query), ""))


def host_of(uri: str) -> str:
    """What serves a data value: scheme, host and port, or the bucket; empty for Label Studio and `data:` URIs."""
    if "://" not in uri[:20]:
        return ""
    try:
        parts = urlsplit(uri.strip())
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


def without_user(url: str) -> str:
    """`url` without `user:password@`."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def is_login(url: str) -> bool:
    """Whether `url` looks like Label Studio's login page."""
    return urlsplit(url).path.rstrip("/").endswith("/user/login")


def is_task_data(url: str, base_url: str | None) -> bool:
    """Whether `url` is one of the addresses where Label Studio serves pictures, whatever its origin."""
    return _is_task_data_path(_without_prefix(urlsplit(url).path, base_url))


def bytes_of_data_uri(uri: str, max_bytes: int) -> bytes:
    """The picture inside a `data:` URI, base64 or percent-encoded.

    Raises:
        ImageTooLargeError: more than `max_bytes`.
        BrokenImageError: no comma, or no base64 where it says so.
    """
    header, comma, payload = uri.partition(",")
    if not comma:
        raise BrokenImageError(f"the image {shown(uri)!r} is no data: URI: it has no comma")
    data = unquote_to_bytes(payload)
    if header.lower().rstrip().endswith(";base64"):
        try:
            digits = b"".join(data.split()).rstrip(b"=")
            data = base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise BrokenImageError(f"the image {shown(uri)!r} is no valid base64") from error
    if len(data) > max_bytes:
        raise ImageTooLargeError(f"the image {shown(uri)!r} has {len(data)} bytes, more than {max_bytes}")
    return data


def _resolver_path(uri: str, task_id: int | None, project_id: int | None) -> str:
    encoded = base64.urlsafe_b64encode(uri.encode()).decode()
    if task_id is not None:
        return f"/tasks/{task_id}/resolve/?fileuri={encoded}"
    if project_id is not None:
        return f"/projects/{project_id}/resolve/?fileuri={encoded}"
    raise ImageError(f"the image {shown(uri)!r} needs a task or project id: Label Studio resolves it for one of them")


def _without_prefix(path: str, base_url: str | None) -> str:
    """A path below Label Studio's address; data values may or may not hold the path prefix already."""
    prefix = urlsplit(base_url).path.rstrip("/") if base_url else ""
    return path.removeprefix(prefix) if prefix and path.startswith(f"{prefix}/") else path


def _without_public_prefix(path: str) -> str:
    """The same without a prefix that a reverse proxy takes away before Label Studio sees it.

    Label Studio writes the path of its LABEL_STUDIO_HOST into the data of uploads: /prefix/data/upload/1/a.jpg.
    """
    if path.startswith("//") or ".." in unquote(path.partition("?")[0]).split("/"):
        return path
    found = _TASK_DATA_PATH.search(path.partition("?")[0])
    return path[found.start() :] if found else path


def _is_task_data_path(path: str) -> bool:
    segments = unquote(path.partition("?")[0]).split("/")
    return _TASK_DATA_PATH.match(path) is not None and ".." not in segments


def _quoted(path: str) -> str:
    """Percent-encode what may not stand in a request line, as browsers do; what is encoded stays as it is."""
    return quote(path, safe="%/:?[]@!$&'()*+,;=-._~|")
