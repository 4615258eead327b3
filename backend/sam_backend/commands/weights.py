"""`label-studio-sam weights`: which weights there are, and bringing, checking and finding them."""

import argparse
import os
import sys
from pathlib import Path

from tqdm import tqdm

from sam_model.weights.catalog import CATALOG, WeightFile, find_weights
from sam_model.weights.download import Progress
from sam_model.weights.errors import WeightsError
from sam_model.weights.store import Presence, WeightStore, shown_path, store_from_env

DESCRIPTION = """Weights lie in SAM_WEIGHTS_DIR (~/.cache/label-studio-sam). SAM_WEIGHTS_MIRROR names another server,
SAM_OFFLINE=1 forbids the network."""
MB = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own commands."""
    parser.description = DESCRIPTION
    parts = parser.add_subparsers(required=True, metavar="COMMAND")
    parts.add_parser("list", help="all that are known, and which are here").set_defaults(weights_run=_list)
    for name, run, words in (
        ("download", _download, "bring the weights of a model; goes on where it stopped"),
        ("path", _path, "where the file of a model lies, or would"),
    ):
        part = parts.add_parser(name, help=words)
        part.add_argument("name", metavar="NAME", help="model or file name, such as mobile_sam")
        part.set_defaults(weights_run=run)
    verify = parts.add_parser("verify", help="compare the hashes of the files here with the catalogue's")
    verify.add_argument("name", metavar="NAME", nargs="?", help="only these weights")
    verify.set_defaults(weights_run=_verify)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0, 1 where weights cannot be had or are wrong, 2 for a wrong name."""
    try:
        return int(args.weights_run(args, store_from_env(os.environ)))
    except WeightsError as error:
        print(f"label-studio-sam: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"label-studio-sam: {error}", file=sys.stderr)
        return 2


def _list(args: argparse.Namespace, store: WeightStore) -> int:
    print(f"{'model':<12} {'file':<22} {'MB':>7}  {'here':<18} {'licence':<11} other names")
    for status in store.statuses():
        weights, here = status.weights, status.presence.value
        if status.presence is Presence.PARTIAL:
            done = (
                f"{100 * status.bytes_here // weights.size} %" if weights.size else f"{status.bytes_here / MB:.1f} MB"
            )
            here = f"{done} downloaded"
        size = f"{(weights.size or status.bytes_here) / MB:.1f}" if weights.size or status.bytes_here else "?"
        row = f"{weights.model:<12} {weights.file:<22} {size:>7}  {here:<18} {weights.licence:<11}"
        print(f"{row} {', '.join(weights.aliases)}".rstrip())
    print(f"\nfolder: {shown_path(store.directory.expanduser())}")
    return 0


def _download(args: argparse.Namespace, store: WeightStore) -> int:
    weights = find_weights(args.name)
    with tqdm(total=weights.size or None, desc=weights.file, unit="B", unit_scale=True, disable=None) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.total
            bar.update(progress.done - bar.n)

        path = store.fetch(weights, show)
    print(f"{weights.model}: {shown_path(path)}, its hash is right")
    return 0


def _path(args: argparse.Namespace, store: WeightStore) -> int:
    path: Path = store.path(find_weights(args.name)).expanduser()
    print(path)
    if not path.exists():
        print(f"label-studio-sam: {path.name} is not here yet", file=sys.stderr)
        return 1
    return 0


def _verify(args: argparse.Namespace, store: WeightStore) -> int:
    chosen: tuple[WeightFile, ...] = (find_weights(args.name),) if args.name else CATALOG
    here = [weights for weights in chosen if store.path(weights).exists()]
    if args.name and not here:
        store.verify(chosen[0])
    wrong = 0
    for weights in here:
        try:
            store.verify(weights)
            print(f"{weights.file}: right")
        except WeightsError as error:
            print(f"label-studio-sam: {error}", file=sys.stderr)
            wrong += 1
    if not here:
        print("no weights are here")
    return 1 if wrong else 0
