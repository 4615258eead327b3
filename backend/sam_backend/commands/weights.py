"""`label-studio-sam weights`: list, download, verify and locate weights."""

import argparse
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from sam_backend.commands.result import CommandResult
from sam_backend.segmenter.weight_store import weight_store
from sam_backend.settings import Settings
from sam_model.weights.catalog import CATALOG, WeightFile, find_weights
from sam_model.weights.download import Progress
from sam_model.weights.errors import WeightsError
from sam_model.weights.folder_store import fetch_folder, folder_path, folder_presence
from sam_model.weights.folders import FOLDERS, NEEDED, OPTIONAL, find_folder
from sam_model.weights.store import Presence, WeightStore, shown_path

DESCRIPTION = """Weights are stored in the folder SAM_WEIGHTS_DIR (default ~/.cache/label-studio-sam).
SAM_WEIGHTS_MIRROR sets another server to download from; SAM_OFFLINE=1 forbids downloads.
HF_TOKEN is the token of Hugging Face for gated weights (sam3)."""
MB = 1_000_000
FOLDER_NAMES = tuple(folder.model for folder in FOLDERS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the subcommand and their arguments."""
    parser.description = DESCRIPTION
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="list all known weights and which are downloaded").set_defaults(action=_list)
    for name, run, words in (
        ("download", _download, "download the weights of a model; an interrupted download continues"),
        ("path", _path, "print the path of a model's file"),
    ):
        action = actions.add_parser(name, help=words)
        action.add_argument("name", metavar="NAME", help="model or file name, such as mobile_sam")
        action.set_defaults(action=run)
    verify = actions.add_parser("verify", help="compare the hashes of the downloaded files with the catalogue")
    verify.add_argument("name", metavar="NAME", nargs="?", help="verify this model only")
    verify.set_defaults(action=_verify)


def run(args: argparse.Namespace) -> CommandResult:
    """Run one action.

    Raises:
        ValueError: the name is not in the catalogue.
        WeightsError: the weights are missing or have another hash.
    """
    action: Callable[[argparse.Namespace, WeightStore], CommandResult] = args.action
    return action(args, weight_store(Settings.from_env()))


def _list(args: argparse.Namespace, store: WeightStore) -> CommandResult:
    lines = [f"{'model':<24} {'file':<28} {'MB':>7}  {'state':<18} {'hash':<14} {'licence':<11} other names"]
    for status in store.statuses():
        weights, state = status.weights, status.presence.value
        if status.presence is Presence.PARTIAL:
            done = (
                f"{100 * status.bytes_here // weights.size} %" if weights.size else f"{status.bytes_here / MB:.1f} MB"
            )
            state = f"{done} downloaded"
        size = f"{(weights.size or status.bytes_here) / MB:.1f}" if weights.size or status.bytes_here else "?"
        hash_source = "recorded" if weights.sha256 else "first download"
        row = f"{weights.model:<24} {weights.file:<28} {size:>7}  {state:<18} {hash_source:<14} {weights.licence:<11}"
        lines.append(f"{row} {', '.join(weights.aliases)}".rstrip())
    for folder in FOLDERS:
        state = folder_presence(store, folder).value
        row = f"{folder.model:<24} {folder.model + '/':<28} {'?':>7}  {state:<18} {'first download':<14}"
        note = "gated: accept the licence, set HF_TOKEN" if folder.is_gated else ""
        lines.append(f"{row} {folder.licence:<11} {note}".rstrip())
    return CommandResult(text="\n".join([*lines, "", f"folder: {shown_path(store.directory.expanduser())}"]))


def _download(args: argparse.Namespace, store: WeightStore) -> CommandResult:
    folder = find_folder(args.name)
    if folder is not None:
        with _ProgressBar() as bar:
            path = fetch_folder(store, folder, bar.show)
        return CommandResult(text=f"{folder.model}: {shown_path(path)}; no hash is recorded for its files")
    weights = _file_called(args.name)
    with _ProgressBar() as bar:
        path = store.fetch(weights, bar.show)
    outcome = "its hash is correct" if weights.sha256 else f"no hash is recorded for it; see {path.name}.sha256"
    return CommandResult(text=f"{weights.model}: {shown_path(path)}, {outcome}")


class _ProgressBar:
    """One bar per file on a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._file = ""

    def __enter__(self) -> "_ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, progress: Progress) -> None:
        """Move the bar."""
        if progress.file != self._file:
            self.__exit__()
            self._bar = tqdm(total=progress.total, desc=progress.file, unit="B", unit_scale=True, disable=None)
            self._file = progress.file
        self._bar.update(progress.done - self._bar.n)


def _path(args: argparse.Namespace, store: WeightStore) -> CommandResult:
    folder = find_folder(args.name)
    path = folder_path(store, folder) if folder else store.path(_file_called(args.name)).expanduser()
    if path.exists():
        return CommandResult(text=str(path))
    return CommandResult(text=str(path), warnings=(f"{path.name} is not downloaded",), exit_code=1)


def _verify(args: argparse.Namespace, store: WeightStore) -> CommandResult:
    folders = [folder for folder in FOLDERS if args.name in (None, folder.model)]
    chosen = [] if args.name in FOLDER_NAMES else [_file_called(args.name)] if args.name else list(CATALOG)
    chosen += [folder.file(name) for folder in folders for name in (*OPTIONAL, *NEEDED)]
    if args.name is None or args.name in FOLDER_NAMES:
        needed = {folder.file(name) for folder in folders if folder_path(store, folder).is_dir() for name in NEEDED}
        chosen = [weights for weights in chosen if store.path(weights).exists() or weights in needed]
        if not chosen:
            return CommandResult(text="no weights are downloaded")
    correct, wrong = [], []
    for weights in chosen:
        try:
            store.verify(weights)
            correct.append(f"{weights.file}: the hash is correct")
        except WeightsError as error:
            wrong.append(str(error))
    return CommandResult(text="\n".join(correct), warnings=tuple(wrong), exit_code=1 if wrong else 0)


def _file_called(name: str) -> WeightFile:
    """Return the file of a model that is no folder.

    Raises:
        ValueError: the name is unknown.
    """
    try:
        return find_weights(name)
    except ValueError as error:
        raise ValueError(f"{error}, {', '.join(FOLDER_NAMES)}") from None
