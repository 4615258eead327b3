"""The folder where weights lie: finds files, brings them, and vouches for them by their hash."""

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

logger = logging.getLogger(__name__)

PERMISSIVE = "Apache-2.0"  # our own licence; of another one a download tells
DEFAULT_DIRECTORY = Path("~/.cache/label-studio-sam")


class Presence(Enum):
    """What there is of a file of weights."""

    PRESENT = "present"  # there, and of the right size; its hash is looked at when it is loaded
    PARTIAL = "partial"  # a download has begun
    MISSING = "missing"
    WRONG_SIZE = "wrong size"


@dataclass(frozen=True)
class WeightStatus:
    """One line of `label-studio-sam weights list`."""

    weights: WeightFile
    presence: Presence
    bytes_here: int


@dataclass(frozen=True)
class WeightStore:
    """Weights in one folder, shared by all processes of this machine."""

    directory: Path = DEFAULT_DIRECTORY
    mirror: str = ""  # URL of a folder with the same file names, used in place of the official addresses
    is_offline: bool = False  # never ask a network
    proxies: Mapping[str, str] = field(default_factory=dict)  # scheme to proxy URL

    def path(self, weights: WeightFile) -> Path:
        """Where the file lies, or will."""
        return self.directory.expanduser() / weights.file

    def url(self, weights: WeightFile) -> str:
        """Where the file comes from."""
        return f"{self.mirror.rstrip('/')}/{weights.file}" if self.mirror else weights.url

    def status(self, weights: WeightFile) -> WeightStatus:
        """What there is of a file, without reading it."""
        path, part = self.path(weights), self._part(weights)
        if path.exists():
            size = path.stat().st_size
            is_right = size == weights.size or not weights.size
            return WeightStatus(weights, Presence.PRESENT if is_right else Presence.WRONG_SIZE, size)
        if part.exists():
            return WeightStatus(weights, Presence.PARTIAL, part.stat().st_size)
        return WeightStatus(weights, Presence.MISSING, 0)

    def statuses(self) -> list[WeightStatus]:
        """What there is of every file in the catalogue."""
        return [self.status(weights) for weights in CATALOG]

    def fetch(self, weights: WeightFile, on_progress: OnProgress | None = None) -> Path:
        """The path of a file whose hash is right, downloaded if need be; others who ask meanwhile wait for it.

        Raises:
            WeightsUnavailableError: it is not here and cannot be fetched.
            BrokenWeightsError: it is here, or came, with other bytes than it should have.
        """
        path = self.path(weights)
        if not path.exists():
            if self.is_offline:
                raise WeightsUnavailableError(f"offline mode is on (SAM_OFFLINE=1). {self.how_to_get(weights)}")
            self._prepare_directory(weights)
            with FileLock(path.with_name(path.name + ".lock")):
                if not path.exists():  # nobody brought it while we waited
                    self._bring(weights, on_progress)
        self.verify(weights, trust_earlier=True)
        return path

    def verify(self, weights: WeightFile, *, trust_earlier: bool = False) -> None:
        """See that the file here has the bytes that it should have.

        Where the catalogue has no hash, the one in `FILE.sha256` beside the file counts; where there is none either,
        the file's own is written there, and the log says so.

        Args:
            weights: which file.
            trust_earlier: take the result of an earlier look where size and time of the file have not changed since.

        Raises:
            WeightsUnavailableError: it is not here.
            BrokenWeightsError: its bytes are others.
        """
        path = self.path(weights)
        if not path.exists():
            raise WeightsUnavailableError(f"{weights.file} is not here. {self.how_to_get(weights)}")
        stat = path.stat()
        wanted = weights.sha256 or self.pinned_sha256(weights)
        looked_at = {"sha256": wanted, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        record = path.with_name(path.name + ".verified")
        if trust_earlier and _read_record(record) == looked_at:
            return
        found = sha256_of(path)
        if not wanted:
            self._pin(weights, found)
            return
        if found != wanted:
            record.unlink(missing_ok=True)
            size = f" and {weights.size} bytes" if weights.size else f", as {weights.file}.sha256 says"
            raise BrokenWeightsError(
                f"{weights.file} has sha256 {found} and {stat.st_size} bytes; needed: {wanted}{size}. "
                f"Delete the file, then it is fetched again"
            )
        try:
            record.write_text(json.dumps(looked_at))
        except OSError:  # a folder that we may only read
            logger.info("the hash of %s is right; it cannot be noted beside it", weights.file)

    def how_to_get(self, weights: WeightFile) -> str:
        """Words for a person who has to bring the file by hand, or do without it."""
        known = [f"{weights.size} bytes"] if weights.size else []
        known += [f"sha256 {weights.sha256}"] if weights.sha256 else []
        facts = f" ({', '.join(known)})" if known else ""
        without = "--detector classical" if weights.role == "detector" else "SAM_MODEL=classical"
        return (
            f"To bring it: `label-studio-sam weights download {weights.model}` where there is a network, or fetch "
            f"{self.url(weights)}{facts} and put it into the "
            f"folder that SAM_WEIGHTS_DIR names ({DEFAULT_DIRECTORY} where it names none; SAM_WEIGHTS_MIRROR names "
            f"another server). To work without weights: {without}"
        )

    def _bring(self, weights: WeightFile, on_progress: OnProgress | None) -> None:
        """Download under another name, look at the hash, then give it its name at once."""
        path, part = self.path(weights), self._part(weights)
        if weights.licence != PERMISSIVE:
            logger.warning("%s is under the licence %s", weights.file, weights.licence)
        try:
            size = weights.size or content_length(self.url(weights), self.proxies)
            download(self.url(weights), part, size, on_progress, self.proxies)
        except WeightsUnavailableError as error:
            raise WeightsUnavailableError(f"{error}. {self.how_to_get(weights)}") from error
        found = sha256_of(part)
        part.with_name(part.name + ".mark").unlink(missing_ok=True)
        wanted = weights.sha256 or self.pinned_sha256(weights)
        if wanted and found != wanted:
            part.unlink()
            raise BrokenWeightsError(
                f"{self.url(weights)} sent another file than {weights.file}: sha256 {found}; needed: {wanted}"
            )
        part.replace(path)

    def _prepare_directory(self, weights: WeightFile) -> None:
        directory = self.directory.expanduser()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            missing = weights.size - self.status(weights).bytes_here
            free = shutil.disk_usage(directory).free
            if free < missing:
                raise WeightsUnavailableError(
                    f"{weights.file} needs {missing} more bytes in the folder of weights, where {free} are free. "
                    f"{self.how_to_get(weights)}"
                )
        except OSError as error:
            raise WeightsUnavailableError(
                f"the folder of weights (SAM_WEIGHTS_DIR) cannot be made or read: {error.strerror}. "
                f"{self.how_to_get(weights)}"
            ) from error

    def pinned_sha256(self, weights: WeightFile) -> str:
        """The hash in `FILE.sha256` beside the file, as `sha256sum` writes it; empty where there is none.

        Raises:
            BrokenWeightsError: what is there is no hash.
        """
        pin = self._pin_file(weights)
        if not pin.exists():
            return ""
        sha256 = (pin.read_text(errors="replace").split() or [""])[0].lower()
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise BrokenWeightsError(f"{pin.name} holds no SHA-256; write one there, or delete it")
        return sha256

    def _pin(self, weights: WeightFile, sha256: str) -> None:
        pin = self._pin_file(weights)
        try:
            pin.write_text(f"{sha256}  {weights.file}\n")
        except OSError as error:
            logger.warning("no hash of %s is on record, and none can be noted: %s", weights.file, error.strerror)
            return
        logger.warning(
            "no hash of %s is on record: this file's, %s, is noted in %s and holds from now on",
            weights.file, sha256, pin.name,
        )  # fmt: skip

    def _pin_file(self, weights: WeightFile) -> Path:
        return self.directory.expanduser() / f"{weights.file}.sha256"

    def _part(self, weights: WeightFile) -> Path:
        return self.directory.expanduser() / f"{weights.file}.part"


def store_from_env(environ: Mapping[str, str]) -> WeightStore:
    """The store that the environment describes.

    `SAM_WEIGHTS_DIR` is its folder, `SAM_WEIGHTS_MIRROR` a server with the same files, `SAM_OFFLINE=1` forbids the
    network; HTTP_PROXY, HTTPS_PROXY and NO_PROXY count as everywhere.

    Raises:
        ValueError: `SAM_OFFLINE` is neither 0 nor 1.
    """
    offline = environ.get("SAM_OFFLINE", "") or "0"
    if offline not in ("0", "1"):
        raise ValueError(f"SAM_OFFLINE={offline!r} is neither 0 nor 1")
    return WeightStore(
        directory=Path(environ.get("SAM_WEIGHTS_DIR", "") or DEFAULT_DIRECTORY),
        mirror=environ.get("SAM_WEIGHTS_MIRROR", ""),
        is_offline=offline == "1",
        proxies=urllib.request.getproxies(),
    )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shown_path(path: Path) -> str:
    """A path for people, with ~ for the home folder."""
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


def _read_record(record: Path) -> object:
    try:
        return json.loads(record.read_text())
    except (OSError, ValueError):
        return None
