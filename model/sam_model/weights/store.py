"""The folder of weights: finds files, downloads them, and verifies their hashes."""

import hashlib
import json
import logging
import re
import shutil
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from filelock import FileLock

from sam_model.weights.catalog import CATALOG, WeightFile
from sam_model.weights.download import OnProgress, content_length, download
from sam_model.weights.errors import BrokenWeightsError, WeightsUnavailableError
from sam_model.weights.foreign_files import foreign_kind

logger = logging.getLogger(__name__)

PERMISSIVE = "Apache-2.0"  # this project's licence; a download under another one logs a warning
DEFAULT_DIRECTORY = Path("~/.cache/label-studio-sam")
YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class Presence(Enum):
    """Return whether a file of weights exists."""

    PRESENT = "present"  # exists with the right size; its hash is checked when it is loaded
    PARTIAL = "partial"  # a download was started
    MISSING = "missing"
    WRONG_SIZE = "wrong size"


@dataclass(frozen=True)
class WeightStatus:
    """The state of one file, as `label-studio-sam weights list` shows it."""

    weights: WeightFile
    presence: Presence
    bytes_here: int


@dataclass(frozen=True)
class WeightStore:
    """A folder of weights that all processes of this machine share."""

    directory: Path = DEFAULT_DIRECTORY
    mirror: str = ""  # URL of a folder with the same file names, used instead of the official URLs
    is_offline: bool = False  # never use the network
    proxies: Mapping[str, str] = field(default_factory=dict)  # scheme to proxy URL
    hugging_face_token: str = field(default="", repr=False)  # for gated weights; sent to their official server only
    converted_directory: Path | None = None  # of the networks converted for OpenVINO; None: `openvino` in `directory`

    @property
    def converted_folder(self) -> Path:
        """The folder of the networks that were converted for OpenVINO."""
        return (self.converted_directory or self.directory / "openvino").expanduser()

    def path(self, weights: WeightFile) -> Path:
        """Return the path of the file, which may not exist yet."""
        return self.directory.expanduser() / weights.file

    def url(self, weights: WeightFile) -> str:
        """Return the URL of the file."""
        return f"{self.mirror.rstrip('/')}/{weights.file}" if self.mirror else weights.url

    def status(self, weights: WeightFile) -> WeightStatus:
        """Return the state of a file without reading it."""
        path, part = self.path(weights), self._part(weights)
        if path.exists():
            size = path.stat().st_size
            is_right = size == weights.size or not weights.size
            return WeightStatus(weights, Presence.PRESENT if is_right else Presence.WRONG_SIZE, size)
        if part.exists():
            return WeightStatus(weights, Presence.PARTIAL, part.stat().st_size)
        return WeightStatus(weights, Presence.MISSING, 0)

    def statuses(self) -> list[WeightStatus]:
        """Return the state of every file in the catalogue."""
        return [self.status(weights) for weights in CATALOG]

    def fetch(self, weights: WeightFile, on_progress: OnProgress | None = None) -> Path:
        """Return the path of a file with the right hash; download it if it is missing. Concurrent callers wait for the
        download.

        Raises:
            WeightsUnavailableError: the file is missing and cannot be downloaded.
            BrokenWeightsError: the file, or what was downloaded, has another hash.
        """
        path = self.path(weights)
        if not path.exists():
            if self.is_offline:
                raise WeightsUnavailableError(
                    f"{weights.file} is missing and offline mode is on (SAM_OFFLINE=1). {self.how_to_get(weights)}"
                )
            self._prepare_directory(weights)
            with FileLock(path.with_name(path.name + ".lock")):
                if not path.exists():  # no other process downloaded it in the meantime
                    self._download(weights, on_progress)
        self.verify(weights, use_record=True)
        return path

    def verify(self, weights: WeightFile, *, use_record: bool = False) -> None:
        """Check the hash of a file.

        If the catalogue has no hash, the one in `FILE.sha256` beside the file counts. If that is missing too, the
        file's own hash is written there, and a warning is logged.

        Args:
            weights: which file.
            use_record: skip the check if size and time of the file are the same as at its last successful check.

        Raises:
            WeightsUnavailableError: the file is missing.
            BrokenWeightsError: the file has another hash.
        """
        path = self.path(weights)
        if not path.exists():
            raise WeightsUnavailableError(f"{weights.file} is missing. {self.how_to_get(weights)}")
        stat = path.stat()
        wanted = weights.sha256 or self.pinned_sha256(weights)
        checked = {"sha256": wanted, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        record = path.with_name(path.name + ".verified")
        if use_record and _read_record(record) == checked:
            return
        found = sha256_of(path)
        if not wanted:
            _check_part(weights, path)
            self._pin(weights, found)
            return
        if found != wanted:
            record.unlink(missing_ok=True)
            size = f" and {weights.size} bytes" if weights.size else f", as {weights.file}.sha256 says"
            raise BrokenWeightsError(
                f"{weights.file} is not the file of {weights.model}: {_what_it_is(path, found, weights)}. "
                f"It has sha256 {found} and {stat.st_size} bytes; needed: {wanted}{size}"
            )
        try:
            record.write_text(json.dumps(checked))
        except OSError:  # a read-only folder
            logger.info("the hash of %s is right; could not write %s: read-only folder", weights.file, record.name)

    def how_to_get(self, weights: WeightFile) -> str:
        """Return instructions to get the file by hand, or to do without it."""
        known = [f"{weights.size} bytes"] if weights.size else []
        known += [f"sha256 {weights.sha256}"] if weights.sha256 else []
        facts = f" ({', '.join(known)})" if known else ""
        without = "--detector classical" if weights.role == "detector" else "SAM_MODEL=classical"
        folder = "/".join(("SAM_WEIGHTS_DIR", *Path(weights.file).parts[:-1]))
        return (
            f"To get it: run `label-studio-sam weights download {weights.model}` with a network connection, or "
            f"download {self.url(weights)}{facts} into the folder {folder} (default {DEFAULT_DIRECTORY}). "
            f"SAM_WEIGHTS_MIRROR sets another server. To work without weights: {without}"
        )

    def _download(self, weights: WeightFile, on_progress: OnProgress | None) -> None:
        """Download to a temporary name, check the hash, then rename."""
        path, part = self.path(weights), self._part(weights)
        if weights.licence != PERMISSIVE and not weights.is_part:
            logger.warning("%s is licensed under %s", weights.file, weights.licence)
        if not weights.sha256 and not weights.is_part and not self._pin_file(weights).exists():
            logger.warning("no hash of %s is recorded: the download cannot be compared with one", weights.file)
        token = self.hugging_face_token if weights.is_gated and not self.mirror else ""
        try:
            size = weights.size or content_length(self.url(weights), self.proxies, token=token)
            download(self.url(weights), part, size, on_progress, self.proxies, token)
        except WeightsUnavailableError as error:
            next_step = access_advice(weights) if error.status in (401, 403) and weights.is_gated else ""
            message = f"{error}. {next_step or self.how_to_get(weights)}"
            raise WeightsUnavailableError(message, error.status) from error
        found = sha256_of(part)
        part.with_name(part.name + ".validator").unlink(missing_ok=True)
        wanted = weights.sha256 or self.pinned_sha256(weights)
        if wanted and found != wanted:
            what = _what_it_is(part, found, weights)
            part.unlink()
            raise BrokenWeightsError(
                f"{self.url(weights)} is not {weights.file}: {what.partition(';')[0]}. It has sha256 {found}; "
                f"needed: {wanted}"
            )
        try:
            _check_part(weights, part)
        except BrokenWeightsError:
            part.unlink()
            raise
        part.replace(path)

    def _prepare_directory(self, weights: WeightFile) -> None:
        directory = self.path(weights).parent
        try:
            directory.mkdir(parents=True, exist_ok=True)
            missing = weights.size - self.status(weights).bytes_here
            free = shutil.disk_usage(directory).free
            if free < missing:
                raise WeightsUnavailableError(
                    f"no space for {weights.file}: SAM_WEIGHTS_DIR has {free} bytes free; needed: {missing}. "
                    f"{self.how_to_get(weights)}"
                )
        except OSError as error:
            raise WeightsUnavailableError(
                f"could not create or read the folder of weights (SAM_WEIGHTS_DIR): {error.strerror}. "
                f"{self.how_to_get(weights)}"
            ) from error

    def pinned_sha256(self, weights: WeightFile) -> str:
        """Return the hash in `FILE.sha256` beside the file, in the format of `sha256sum`; empty if there is no such
        file.

        Raises:
            BrokenWeightsError: the content is not a hash.
        """
        pin = self._pin_file(weights)
        if not pin.exists():
            return ""
        sha256 = (pin.read_text(errors="replace").split() or [""])[0].lower()
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise BrokenWeightsError(f"{pin.name} does not hold a SHA-256: correct it or delete the file")
        return sha256

    def _pin(self, weights: WeightFile, sha256: str) -> None:
        pin = self._pin_file(weights)
        try:
            pin.write_text(f"{sha256}  {weights.file}\n")
        except OSError as error:
            logger.warning(
                "no hash of %s is recorded, and could not write %s: %s", weights.file, pin.name, error.strerror
            )
            return
        if weights.is_part:
            return
        logger.warning(
            "no hash of %s is recorded: the hash of this file, %s, is stored in %s and checked from now on",
            weights.file, sha256, pin.name,
        )  # fmt: skip

    def _pin_file(self, weights: WeightFile) -> Path:
        return self.directory.expanduser() / f"{weights.file}.sha256"

    def _part(self, weights: WeightFile) -> Path:
        return self.directory.expanduser() / f"{weights.file}.part"


def store_from_env(environ: Mapping[str, str]) -> WeightStore:
    """Return the store that the environment variables describe.

    `SAM_WEIGHTS_DIR` is its folder, `SAM_CONVERTED_DIR` that of the networks converted for OpenVINO,
    `SAM_WEIGHTS_MIRROR` a server with the same files; `SAM_OFFLINE=1` forbids the network; `HF_TOKEN` is the token of
    Hugging Face for gated weights. HTTP_PROXY, HTTPS_PROXY and NO_PROXY have their usual meaning.

    Raises:
        ValueError: `SAM_OFFLINE` is neither true nor false.
    """
    offline = environ.get("SAM_OFFLINE", "") or "0"
    if offline.lower() not in (*YES, *NO):
        raise ValueError(f"SAM_OFFLINE={offline!r} is neither true nor false")
    converted = environ.get("SAM_CONVERTED_DIR", "")
    return WeightStore(
        directory=Path(environ.get("SAM_WEIGHTS_DIR", "") or DEFAULT_DIRECTORY),
        mirror=environ.get("SAM_WEIGHTS_MIRROR", ""),
        is_offline=offline.lower() in YES,
        proxies=urllib.request.getproxies(),
        hugging_face_token=environ.get("HF_TOKEN", "").strip(),
        converted_directory=Path(converted) if converted else None,
    )


def access_advice(weights: WeightFile) -> str:
    """Return what a person has to do to get access to gated weights."""
    page = weights.url.partition("/resolve/")[0]
    return (
        f"Access to {weights.model} is granted by its authors: accept the licence at {page}, and set HF_TOKEN to a "
        f"token of the account that did"
    )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shown_path(path: Path) -> str:
    """Return a path for messages, with ~ for the home folder."""
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


def _check_part(weights: WeightFile, path: Path) -> None:
    """Refuse a file of a folder that cannot be one: its hash would be stored and checked from then on.

    Raises:
        BrokenWeightsError: the file is a page of a server, cut off, or of another kind.
    """
    kind = foreign_kind(path) if weights.is_part else ""
    if kind and not kind.startswith("a text"):  # a folder has texts
        raise BrokenWeightsError(f"{weights.file} cannot be used: it is {kind}")


def _what_it_is(path: Path, sha256: str, weights: WeightFile) -> str:
    """Return what a file is that has another hash than that of `weights`, and what to do."""
    known = next((weights for weights in CATALOG if weights.sha256 == sha256), None)
    if known is not None:
        return f"it is {known.file}, the file of {known.model}; rename it, or delete it to download the right one"
    kind = foreign_kind(path)
    if kind and not (weights.is_part and kind.startswith("a text")):  # a folder has texts, too
        return f"it is {kind.partition(';')[0]}; delete it to download it again"
    if path.stat().st_size == weights.size:
        return "it has the right size, but other bytes; delete it to download it again"
    return "it is another file; if it is your own, give it another name, otherwise delete it to download it again"


def _read_record(record: Path) -> object:
    try:
        return json.loads(record.read_text())
    except (OSError, ValueError):
        return None
