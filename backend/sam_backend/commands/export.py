"""`label-studio-sam export`: write a project's annotations as a data set with masks."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sam_backend.commands.label_studio_settings import label_studio_settings
from sam_backend.commands.result import CommandResult

if TYPE_CHECKING:
    from sam_backend.export.image_files import ImageFolder

DESCRIPTION = """Write the submitted annotations of a project as a data set: coco (instance masks), yolo-seg, png (one
mask per object), semantic (one mask per image, with a palette) or label-studio (tasks for import). Of several
annotations of a task, the newest ground truth counts, else the newest. The same command continues an interrupted
export. LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY are required."""
FORMATS = ("coco", "yolo-seg", "png", "semantic", "label-studio")
SHOWN_FAILURES = 5
GIVE_UP_AFTER_S = 120.0  # without an answer of Label Studio


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand."""
    parser.description = DESCRIPTION
    parser.add_argument("--project", type=int, required=True, metavar="N", help="the project's number, as in its URL")
    parser.add_argument("--format", required=True, choices=FORMATS, help="format of the data set")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, or that of an export")
    parser.add_argument(
        "--split",
        default="80,10,10",
        metavar="T,V,T",
        help="shares of training, validation and test; all images of a task are in one of them (default %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="decides which task goes where (default %(default)s)")
    parser.add_argument(
        "--images",
        choices=("copy", "link", "none"),
        default="copy",
        help="copy the images; link those below --link-root and copy the others; or write no images (default"
        " %(default)s)",
    )
    parser.add_argument(
        "--link-root",
        type=Path,
        metavar="DIR",
        help="folder of --images link: Label Studio's LOCAL_FILES_DOCUMENT_ROOT or its media folder",
    )
    parser.add_argument(
        "--predictions",
        action="store_true",
        help="tasks without annotation have the regions of their newest prediction",
    )
    parser.add_argument(
        "--conf", type=float, default=0.5, metavar="P", help="minimum score of --predictions (default %(default)s)"
    )
    parser.add_argument("--model-version", metavar="NAME", help="model version of --predictions (default: the newest)")
    parser.add_argument(
        "--coco-segmentation",
        choices=("rle", "polygon"),
        default="rle",
        help="mask format of coco; rle is exact (default %(default)s)",
    )
    parser.add_argument(
        "--image-url-prefix",
        metavar="URL",
        help="for label-studio: prefix of the exported images' addresses, such as /data/local-files/?d=export/images/"
        " (default: the addresses of the tasks)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> CommandResult:
    """Export the project; the exit code is 1 if tasks failed.

    Raises:
        ValueError: an argument cannot be used.
        BackendError: the folder has other files, or the project's images cannot be read.
        LabelStudioApiError: Label Studio refuses, or does not answer.
        OSError: a file cannot be written.
    """
    from sam_backend.export.image_files import ImageFolder
    from sam_backend.export.project_export import ExportOptions, export_project
    from sam_backend.export.task_split import task_split
    from sam_backend.images.fetch import ImageFetcher, fetch_limits
    from sam_backend.label_studio.client import LabelStudioClient
    from sam_backend.label_studio.credentials import LabelStudioCredentials
    from sam_backend.label_studio.projects import project_details
    from sam_backend.label_studio.retry_policy import RetryPolicy

    if not 0 <= args.conf <= 1:
        raise ValueError(f"--conf {args.conf} is not between 0 and 1")
    if args.images == "link" and args.link_root is None:
        raise ValueError("--images link needs --link-root, the folder with the images")
    settings = label_studio_settings()
    options = ExportOptions(
        format=args.format,
        split=task_split(args.split, args.seed),
        images=args.images,
        min_score=args.conf if args.predictions else None,
        model_version=args.model_version,
        coco_segmentation=args.coco_segmentation,
        image_url_prefix=args.image_url_prefix,
    )
    credentials = LabelStudioCredentials(settings.label_studio_url, settings.label_studio_api_key)
    api = LabelStudioClient(credentials)
    project = project_details(api, args.project)
    fetcher = ImageFetcher(credentials, fetch_limits(settings))

    def fetch(address: str, task: int) -> bytes:
        return fetcher.fetch(address, task, project.id, project.task_login, project.task_password)

    def folder_of(folder: Path) -> "ImageFolder":
        return ImageFolder(folder, args.images, fetch, settings.max_image_megapixels * 1_000_000, args.link_root)

    policy = RetryPolicy(lambda: False, GIVE_UP_AFTER_S, lambda message: None)
    report = export_project(
        api, project, args.out.expanduser().absolute(), options, folder_of, policy, show_progress=not args.json
    )
    by_split = ", ".join(f"{split} {count}" for split, count in report.by_split.items() if count)
    earlier = f" ({report.resumed} of an interrupted export)" if report.resumed else ""
    text = f"{report.tasks} tasks{earlier}, {report.images} images ({by_split or 'none'}), {report.objects} objects"
    warnings = [f"task {task}: {reason}" for task, reason in report.failures[:SHOWN_FAILURES]]
    if len(report.failures) > SHOWN_FAILURES:
        warnings.append(f"{len(report.failures)} tasks had problems; {args.out / 'errors.jsonl'} lists all of them")
    answer = {
        "tasks": report.tasks,
        "images": report.images,
        "objects": report.objects,
        "by_split": report.by_split,
        "failures": [{"task": task, "error": reason} for task, reason in report.failures],
    }
    return CommandResult(answer, f"{text}: {args.format} in {args.out}", tuple(warnings), 1 if report.failures else 0)
