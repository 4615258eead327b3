"""`label-studio-sam weights`: list, download, verify and locate weights."""

import argparse
from collections.abc import Callable

from tqdm import tqdm

from sam_backend.commands.result import CommandResult
from sam_backend.segmenter.weight_store import weight_store
from sam_backend.settings import Settings
from sam_model.weights.catalog import CATALOG, WeightFile, find_weights
from sam_model.weights.download import Progress
from sam_model.weights.errors import WeightsError
from sam_model.weights.store import Presence, WeightStore, shown_path

DESCRIPTION = """Weights are stored in the folder SAM_WEIGHTS_DIR (default ~/.cache/label-studio-sam).
SAM_WEIGHTS_MIRROR sets another server to download from; SAM_OFFLINE=1 forbids downloads."""
MB = 1_000_000


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
    lines = [f"{'model':<12} {'file':<22} {'MB':>7}  {'state':<18} {'licence':<11} other names"]
    for status in store.statuses():
        weights, state = status.weights, status.presence.value
        if status.presence is Presence.PARTIAL:
            done = (
                f"{100 * status.bytes_here // weights.size} %" if weights.size else f"{status.bytes_here / MB:.1f} MB"
            )
            state = f"{done} downloaded"
        size = f"{(weights.size or status.bytes_here) / MB:.1f}" if weights.size or status.bytes_here else "?"
        row = f"{weights.model:<12} {weights.file:<22} {size:>7}  {state:<18} {weights.licence:<11}"
        lines.append(f"{row} {', '.join(weights.aliases)}".rstrip())
    return CommandResult(text="\n".join([*lines, "", f"folder: {shown_path(store.directory.expanduser())}"]))


def _download(args: argparse.Namespace, store: WeightStore) -> CommandResult:
    weights = find_weights(args.name)
    with tqdm(total=weights.size or None, desc=weights.file, unit="B", unit_scale=True, disable=None) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.total
            bar.update(progress.done - bar.n)

        path = store.fetch(weights, show)
    return CommandResult(text=f"{weights.model}: {shown_path(path)}, its hash is correct")


def _path(args: argparse.Namespace, store: WeightStore) -> CommandResult:
    path = store.path(find_weights(args.name)).expanduser()
    if path.exists():
        return CommandResult(text=str(path))
    return CommandResult(text=str(path), warnings=(f"{path.name} is not downloaded",), exit_code=1)


def _verify(args: argparse.Namespace, store: WeightStore) -> CommandResult:
    chosen: list[WeightFile] = [find_weights(args.name)] if args.name else []
    if not args.name:
        chosen = [weights for weights in CATALOG if store.path(weights).exists()]
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
