"""The settings of the backend: read once at the start, from environment variables."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from sam_backend.network.base_url import parse_base_url, parse_token
from sam_backend.redaction import mask_userinfo
from sam_model.weights.store import DEFAULT_DIRECTORY

T = TypeVar("T")
MIB = 1 << 20


class SettingsError(ValueError):
    """An environment variable or an option has a value that cannot be used; the message names it."""


@dataclass(frozen=True)
class Settings:
    """All settings; `ENVIRONMENT` has the variable of each field and its range."""

    model: str = "auto"  # a registry name, the path of a weights file, or auto: see segmenter/automatic_choice.py
    models: tuple[str, ...] = ()  # further models that a project may ask for: names or paths
    models_mib: int = 4096  # size of the weights of those models that are loaded at the same time
    device: str = "auto"  # cpu, cuda, cuda:1, mps, or auto: the fastest device of this machine
    dtype: str = "auto"  # float32, bfloat16, float16, or auto: what the runtime is fastest with
    runtime: str = "auto"  # torch, openvino, or auto: OpenVINO on x86 processors if it is installed
    weights_dir: Path = DEFAULT_DIRECTORY  # folder of downloaded weights
    converted_dir: Path | None = None  # of networks converted for OpenVINO; None: the folder openvino in weights_dir
    weights_mirror: str = ""  # URL of a folder with the same file names, used in place of the official URLs
    offline: bool = False  # never download weights?
    hugging_face_token: str | None = field(default=None, repr=False)  # for gated weights; sent to Hugging Face only
    min_hole_area: int = 0  # pixels: smaller holes of a SAM mask are filled
    min_region_area: int = 0  # pixels: smaller parts of a SAM mask are removed
    keep_clicked_region: bool = False  # keep only the clicked parts of a SAM mask?
    polygon_tolerance: float = 1.0  # deviation in pixels of an image with a long side of 1000 pixels; 0: all vertices
    polygon_parts: Literal["largest", "separate", "bridges"] = "separate"  # what becomes of parts and holes of a mask
    each_point_an_object: bool = False  # is each positive point an object of its own?
    refine_regions: bool = False  # does a point inside a region of the task change that region?
    label_studio_url: str | None = None  # as seen from this machine; None: the URL of the first /setup
    label_studio_api_key: str | None = field(
        default=None, repr=False
    )  # personal access token or legacy token; sent to label_studio_url only
    fetch_timeout_s: float = 30.0  # for one image, redirects included
    max_image_mib: int = 200  # size of one image file
    max_image_megapixels: int = 100  # size of one decoded image
    decode_memory_mib: int = 1280  # memory for decoding, for all images together
    max_body_mib: int = 64  # size of one request with tasks; other requests may have 256 KiB
    embedding_cache_mib: int = 1024  # embeddings kept in memory
    embeddings_dir: Path | None = None  # folder that keeps SAM's embeddings over restarts; None: they are not kept
    embeddings_mib: int = 10240  # size of that folder
    allow_private_addresses: bool = False  # may images come from hosts of the private network?
    image_check_s: float = 5.0  # a click on an image that was checked longer ago checks whether it changed
    max_prompts: int = 200  # points and rectangles in one request
    zoom: bool = True  # are small objects segmented in a part of the image at full resolution too?
    prefetch: bool = True  # compute a task's embedding when the task is opened?
    prefetch_next: int = 3  # tasks after an opened one whose embeddings are computed as well, while the CPU is idle
    model_wait_s: float = 20.0  # how long a click waits for a model that is still loading
    basic_auth_user: str | None = None  # required of every request except event webhooks, which cannot send it
    basic_auth_password: str | None = field(default=None, repr=False)
    api_token: str | None = field(default=None, repr=False)  # required for /api/*, in place of the password
    allowed_hosts: tuple[str, ...] = ()  # host names allowed in addition to IP addresses and names of private networks
    detector: str | None = None  # for every project; None: only projects whose extra parameters name a detector
    text_detector: str | None = None  # for words; None: the project's detector, or a folder in weights_dir
    preannotate_on_import: bool = False  # start a run for imported tasks?
    batch_predict_timeout_s: float = 60.0  # for "Retrieve Predictions"; Label Studio waits 100 s
    task_open_timeout_s: float = 5.0  # for a request with one task, which may come from an open editor
    runs_dir: Path | None = None  # folder of the bulk runs; None: in the user's state folder
    threads: int = 16  # /predict requests computed at the same time
    max_waiting: int = 48  # /predict requests that may wait for a thread; further ones get 503
    max_connections: int = 512  # open connections; beyond, the oldest idle one is closed
    read_timeout_s: float = 30.0  # for a client to send a request with tasks
    log_level: str = "INFO"
    log_format: str = "text"  # text or json

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the variables of `ENVIRONMENT`; a variable that is unset or empty leaves the default.

        Raises:
            SettingsError: a value has the wrong type or is out of range, or a variable was renamed.
        """
        for old, new in RENAMED.items():
            if old in environ:
                raise SettingsError(f"{old} was renamed; set {new} instead")
        given = {
            field: parse(variable, environ[variable].strip())
            for field, (variable, parse) in ENVIRONMENT.items()
            if environ.get(variable, "").strip()
        }
        settings = cls(**given)  # type: ignore[arg-type]  # each parser gives its field's type
        if settings.label_studio_api_key and not settings.label_studio_url:
            raise SettingsError(
                "LABEL_STUDIO_API_KEY is set without LABEL_STUDIO_URL; set both: the token is sent to that URL only"
            )
        if (settings.basic_auth_user is None) != (settings.basic_auth_password is None):
            raise SettingsError(
                "only one of SAM_BASIC_AUTH_USER and SAM_BASIC_AUTH_PASSWORD is set; set both or neither"
            )
        return settings


def _text(variable: str, value: str) -> str:
    return value


def _number(kind: Callable[[str], T], low: float, high: float) -> Callable[[str, str], T]:
    def parse(variable: str, value: str) -> T:
        try:
            number = kind(value)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise SettingsError(f"{variable}={value!r} is not {what}") from None
        if not low <= float(number) <= high:  # type: ignore[arg-type]  # kind is int or float
            raise SettingsError(f"{variable}={value!r} is not between {low:g} and {high:g}")
        return number

    return parse


def _boolean(variable: str, value: str) -> bool:
    answers = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if value.lower() not in answers:
        raise SettingsError(f"{variable}={value!r} is neither true nor false")
    return answers[value.lower()]


def _one_of(*choices: str) -> Callable[[str, str], str]:
    def parse(variable: str, value: str) -> str:
        found = next((choice for choice in choices if choice.lower() == value.lower()), None)
        if found is None:
            raise SettingsError(f"{variable}={value!r} is not one of {', '.join(choices)}")
        return found

    return parse


def _folder(variable: str, value: str) -> Path:
    return Path(value).expanduser()


def _names(variable: str, value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))


def _http_url(variable: str, value: str) -> str:
    try:
        return parse_base_url(value)
    except ValueError as error:
        shown = mask_userinfo(value)
        raise SettingsError(f"{variable}={shown!r} is not a URL such as https://example.org: {error}") from None


def _token(variable: str, value: str) -> str:
    try:
        return parse_token(value)
    except ValueError as error:
        raise SettingsError(f"{variable} cannot be used: {error}") from None


def _hosts(variable: str, value: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower().rstrip(".") for name in value.split(",") if name.strip())
    for name in names:
        if not re.fullmatch(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", name):
            raise SettingsError(f"{variable}: {name!r} is not a host name such as sam.example.org or *.example.org")
    return names


# field -> (variable, parser)
ENVIRONMENT: dict[str, tuple[str, Callable[[str, str], object]]] = {
    "model": ("SAM_MODEL", _text),
    "models": ("SAM_MODELS", _names),
    "models_mib": ("SAM_MODELS_MIB", _number(int, 1, 1 << 20)),
    "device": ("SAM_DEVICE", _text),
    "dtype": ("SAM_DTYPE", _one_of("auto", "float32", "bfloat16", "float16")),
    "runtime": ("SAM_RUNTIME", _one_of("auto", "torch", "openvino")),
    "weights_dir": ("SAM_WEIGHTS_DIR", _folder),
    "converted_dir": ("SAM_CONVERTED_DIR", _folder),
    "weights_mirror": ("SAM_WEIGHTS_MIRROR", _text),
    "offline": ("SAM_OFFLINE", _boolean),
    "hugging_face_token": ("HF_TOKEN", _token),
    "min_hole_area": ("SAM_MIN_HOLE_AREA", _number(int, 0, 1_000_000_000)),
    "min_region_area": ("SAM_MIN_REGION_AREA", _number(int, 0, 1_000_000_000)),
    "keep_clicked_region": ("SAM_KEEP_CLICKED_REGION", _boolean),
    "polygon_tolerance": ("SAM_POLYGON_TOLERANCE", _number(float, 0, 1000)),
    "polygon_parts": ("SAM_POLYGON_PARTS", _one_of("largest", "separate", "bridges")),
    "each_point_an_object": ("SAM_EACH_POINT_AN_OBJECT", _boolean),
    "refine_regions": ("SAM_REFINE_REGIONS", _boolean),
    "label_studio_url": ("LABEL_STUDIO_URL", _http_url),
    "label_studio_api_key": ("LABEL_STUDIO_API_KEY", _token),
    "fetch_timeout_s": ("SAM_FETCH_TIMEOUT_S", _number(float, 0.1, 3600)),
    "max_image_mib": ("SAM_MAX_IMAGE_MIB", _number(int, 1, 16384)),
    "max_image_megapixels": ("SAM_MAX_IMAGE_MEGAPIXELS", _number(int, 1, 2000)),
    "decode_memory_mib": ("SAM_DECODE_MEMORY_MIB", _number(int, 64, 1 << 20)),
    "max_body_mib": ("SAM_MAX_BODY_MIB", _number(int, 1, 4096)),
    "embedding_cache_mib": ("SAM_EMBEDDING_CACHE_MIB", _number(int, 1, 1 << 20)),
    "embeddings_dir": ("SAM_EMBEDDINGS_DIR", _folder),
    "embeddings_mib": ("SAM_EMBEDDINGS_MIB", _number(int, 1, 1 << 24)),
    "allow_private_addresses": ("SAM_ALLOW_PRIVATE_ADDRESSES", _boolean),
    "image_check_s": ("SAM_IMAGE_CHECK_S", _number(float, 0, 86400)),
    "max_prompts": ("SAM_MAX_PROMPTS", _number(int, 1, 10_000)),
    "zoom": ("SAM_ZOOM", _boolean),
    "prefetch": ("SAM_PREFETCH", _boolean),
    "prefetch_next": ("SAM_PREFETCH_NEXT", _number(int, 0, 20)),
    "model_wait_s": ("SAM_MODEL_WAIT_S", _number(float, 0, 90)),
    "basic_auth_user": ("SAM_BASIC_AUTH_USER", _text),
    "basic_auth_password": ("SAM_BASIC_AUTH_PASSWORD", _text),
    "api_token": ("SAM_API_TOKEN", _token),
    "allowed_hosts": ("SAM_ALLOWED_HOSTS", _hosts),
    "detector": ("SAM_DETECTOR", _text),
    "text_detector": ("SAM_TEXT_DETECTOR", _text),
    "preannotate_on_import": ("SAM_PREANNOTATE_ON_IMPORT", _boolean),
    "batch_predict_timeout_s": ("SAM_BATCH_PREDICT_TIMEOUT_S", _number(float, 0.1, 95)),
    "task_open_timeout_s": ("SAM_TASK_OPEN_TIMEOUT_S", _number(float, 0.1, 95)),
    "runs_dir": ("SAM_RUNS_DIR", _folder),
    "threads": ("SAM_THREADS", _number(int, 1, 256)),
    "max_waiting": ("SAM_MAX_WAITING", _number(int, 0, 1024)),
    "max_connections": ("SAM_MAX_CONNECTIONS", _number(int, 16, 65536)),
    "read_timeout_s": ("SAM_READ_TIMEOUT_S", _number(float, 0.1, 600)),
    "log_level": ("SAM_LOG_LEVEL", _one_of("DEBUG", "INFO", "WARNING", "ERROR")),
    "log_format": ("SAM_LOG_FORMAT", _one_of("text", "json")),
}

# old variable -> its name now
RENAMED = {
    "SAM_FILL_HOLES_BELOW": "SAM_MIN_HOLE_AREA",
    "SAM_DROP_SPECKS_BELOW": "SAM_MIN_REGION_AREA",
    "SAM_KEEP_CLICKED_PART": "SAM_KEEP_CLICKED_REGION",
    "SAM_CACHE_MIB": "SAM_EMBEDDING_CACHE_MIB",
    "SAM_OPEN_DEADLINE_S": "SAM_TASK_OPEN_TIMEOUT_S",
    "SAM_BATCH_DEADLINE_S": "SAM_BATCH_PREDICT_TIMEOUT_S",
}
