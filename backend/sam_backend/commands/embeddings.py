"""`label-studio-sam embeddings`: embed the images of a project, count or remove stored embeddings."""

import argparse
from collections.abc import Callable
from dataclasses import asdict

from sam_backend.commands.label_studio_settings import label_studio_settings
from sam_backend.commands.preannotate import start_or_continue
from sam_backend.commands.result import CommandResult
from sam_backend.settings import Settings, SettingsError

DESCRIPTION = """Embeddings are stored in the folder SAM_EMBEDDINGS_DIR, up to SAM_EMBEDDINGS_MIB. A click on an image
with a stored embedding does not wait for the model's image encoder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the subcommand and their arguments."""
    parser.description = DESCRIPTION
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    build = actions.add_parser(
        "build", help="embed all images of a project; Ctrl-C pauses the run, the same command continues it"
    )
    index = actions.add_parser(
        "index",
        help="store the regions of all images of a project for --detector exemplars; pauses and continues as build",
    )
    for action, purpose in ((build, "embeddings"), (index, "regions")):
        action.add_argument(
            "--project", type=int, required=True, metavar="N", help="the project's number, as in its URL"
        )
        action.add_argument(
            "--model",
            default="auto",
            metavar="NAME|FILE",
            help="segmenter; auto is the one of SAM_MODEL (default auto)",
        )
        action.set_defaults(action=_build, purpose=purpose, descriptor="auto")
    index.add_argument(
        "--descriptor",
        default="auto",
        help="what compares objects: auto, owlv2, sam or classical (default auto)",
    )
    for name, run, words in (
        ("stats", _stats, "count the stored embeddings"),
        ("clear", _clear, "remove all stored embeddings and indexes of regions"),
    ):
        actions.add_parser(name, help=words).set_defaults(action=run)
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> CommandResult:
    """Run one action.

    Raises:
        SettingsError: SAM_EMBEDDINGS_DIR, Label Studio's URL or the token is not set.
        BackendError: the run cannot be started or continued.
        OSError: the folder cannot be used.
    """
    action: Callable[[argparse.Namespace], CommandResult] = args.action
    return action(args)


def _build(args: argparse.Namespace) -> CommandResult:
    from sam_backend.preannotation.configuration import RunConfiguration
    from sam_backend.runs.image_builder import check_build

    settings = label_studio_settings()
    check_build(settings)
    configuration = RunConfiguration(
        args.project, model=args.model, purpose=args.purpose, descriptor=args.descriptor, policy="add"
    )
    return start_or_continue(configuration, settings, args.json)


def _stats(args: argparse.Namespace) -> CommandResult:
    from sam_backend.embeddings.disk import embedding_folder

    folder = embedding_folder(_settings_with_folder())
    assert folder is not None  # checked
    found = folder.statistics()
    share = found.bytes_held / found.bytes_allowed
    text = (
        f"{found.files} embeddings, {found.bytes_held / (1 << 20):.1f} of {found.bytes_allowed / (1 << 20):.0f} MiB "
        f"({share:.0%})"
    )
    return CommandResult(asdict(found), text)


def _clear(args: argparse.Namespace) -> CommandResult:
    from sam_backend.embeddings.disk import embedding_folder
    from sam_backend.exemplars.index import clear_indexes

    settings = _settings_with_folder()
    folder = embedding_folder(settings)
    assert folder is not None  # checked
    number = folder.clear()
    clear_indexes(settings)
    return CommandResult({"removed": number}, f"{number} embeddings removed")


def _settings_with_folder() -> Settings:
    settings = Settings.from_env()
    if settings.embeddings_dir is None:
        raise SettingsError("SAM_EMBEDDINGS_DIR is not set; set it to the folder of the embeddings")
    return settings
