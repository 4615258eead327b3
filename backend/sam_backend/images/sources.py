"""A task's data value -> the URL of its image, or the image itself.

Label Studio 1.23 sends these values: `/data/upload/...` and `/data/local-files/?d=...`, relative to its own URL;
`s3://`, `gs://` and `azure-blob://`, which Label Studio resolves to a signed URL or streams; http(s) URLs; `data:` URIs
(RFC 2397).
"""

import base64
import binascii
import re
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit, urlunsplit

from sam_backend.errors import BrokenImageError, ImageError, ImageForbiddenError, ImageTooLargeError
from sam_backend.label_studio.credentials import origin_of

CLOUD_SCHEMES = ("s3", "gs", "azure-blob")
EXPECTED = "expected /data/..., an http(s) URL, s3://, gs://, azure-blob:// or a data: URI"
MAX_SHOWN = 200

# The paths of Label Studio that serve images of tasks; the token is sent to no other path.
_TASK_DATA_PATH = re.compile(r"/(data|storage-data|(tasks|projects)/[0-9]+/(resolve|presign))/")


def shown(uri: str) -> str:
    """Return `uri` for a message: shortened, and without password, signature and image bytes."""
    if uri[:5].lower() == "data:":
        return f"{uri.partition(',')[0][:60]},..."
    try:
        parts = urlsplit(uri)
    except ValueError:
        parts = None
    if parts is not None and parts.scheme:
        query = "..." if parts.query else ""  # the secret of signed URLs is in the query
        uri = without_user(urlunsplit((parts.scheme, parts.netloc, parts.path, query, "")))
    return uri if len(uri) <= MAX_SHOWN else f"{uri[:MAX_SHOWN]}..."


def url_of(uri: str, base_url: str | None, task_id: int | None = None, project_id: int | None = None) -> str:
    """Return the http(s) URL of a data value; `base_url` is Label Studio's URL, with its path prefix.

    Raises:
        ImageForbiddenError: the scheme or the path of Label Studio is not allowed.
        ImageError: the value is not a valid address, or Label Studio's URL is needed and not known.
    """
    scheme = uri.partition(":")[0].lower() if "://" in uri else ""
    if scheme in ("http", "https"):
        return http_url(uri)
    if scheme and scheme not in CLOUD_SCHEMES:
        raise ImageForbiddenError(f"could not fetch the image {shown(uri)!r}: {EXPECTED}")
    if scheme:
        path = _resolver_path(uri, task_id, project_id)
    else:
        path = _quoted(_without_public_prefix(_without_prefix(uri, base_url)))
        if not _is_task_data_path(path):
            raise ImageForbiddenError(f"could not fetch the image {shown(uri)!r}: {EXPECTED}")
    if base_url is None:
        raise ImageError(
            f"could not fetch the image {shown(uri)!r}: the URL of Label Studio is not known; set LABEL_STUDIO_URL"
        )
    return base_url + path


def http_url(uri: str) -> str:
    """Return an http(s) URL for a request: percent-encoded, without the fragment.

    Raises:
        ImageError: the URL is invalid.
    """
    try:
        origin_of(uri)
    except ValueError as error:
        raise ImageError(f"could not fetch the image {shown(uri)!r}: not a valid http(s) URL") from error
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc, _quoted(parts.path) or "/", _quoted(parts.query), ""))


def host_of(uri: str) -> str:
    """Return scheme, host and port of a data value, or its bucket; empty for Label Studio and `data:` URIs."""
    if "://" not in uri[:20]:
        return ""
    try:
        parts = urlsplit(uri.strip())
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


def without_user(url: str) -> str:
    """Return `url` without `user:password@`."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def is_login(url: str) -> bool:
    """Return whether `url` looks like Label Studio's login page."""
    return urlsplit(url).path.rstrip("/").endswith("/user/login")


def is_task_data(url: str, base_url: str | None) -> bool:
    """Return whether Label Studio serves images at the path of `url`; the origin is not checked."""
    return _is_task_data_path(_without_prefix(urlsplit(url).path, base_url))


def bytes_of_data_uri(uri: str, max_bytes: int) -> bytes:
    """Return the image in a `data:` URI, base64 or percent-encoded.

    Raises:
        ImageTooLargeError: the image has more than `max_bytes`.
        BrokenImageError: the URI has no comma, or its base64 is invalid.
    """
    header, comma, payload = uri.partition(",")
    if not comma:
        raise BrokenImageError(f"could not read the image {shown(uri)!r}: the data: URI has no comma")
    data = unquote_to_bytes(payload)
    if header.lower().rstrip().endswith(";base64"):
        try:
            digits = b"".join(data.split()).rstrip(b"=")
            data = base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise BrokenImageError(f"could not read the image {shown(uri)!r}: invalid base64") from error
    if len(data) > max_bytes:
        raise ImageTooLargeError(
            f"could not read the image {shown(uri)!r}: it has {len(data)} bytes, more than {max_bytes}"
        )
    return data


def _resolver_path(uri: str, task_id: int | None, project_id: int | None) -> str:
    encoded = base64.urlsafe_b64encode(uri.encode()).decode()
    if task_id is not None:
        return f"/tasks/{task_id}/resolve/?fileuri={encoded}"
    if project_id is not None:
        return f"/projects/{project_id}/resolve/?fileuri={encoded}"
    raise ImageError(f"could not fetch the image {shown(uri)!r}: Label Studio needs a task or project id to resolve it")


def _without_prefix(path: str, base_url: str | None) -> str:
    """Return a path without the path prefix of Label Studio's URL; data values may or may not contain it."""
    prefix = urlsplit(base_url).path.rstrip("/") if base_url else ""
    return path.removeprefix(prefix) if prefix and path.startswith(f"{prefix}/") else path


def _without_public_prefix(path: str) -> str:
    """Return a path without a prefix that a reverse proxy removes before Label Studio sees it.

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
    """Percent-encode characters that a request line must not contain, as browsers do; keep existing encoding."""
    return quote(path, safe="%/:?[]@!$&'()*+,;=-._~|")
