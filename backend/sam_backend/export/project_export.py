"""Export of a project: reads its tasks page by page, stores images and records, then writes the data set's files.

Memory use is that of one page of tasks, however large the project is. An interrupted export continues after the last
recorded task.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock
from tqdm import tqdm

from sam_backend.errors import BackendError, BadRequestError
from sam_backend.export.coco_dataset import write_coco
from sam_backend.export.dataset_image import UNLABELED, DatasetImage, DatasetObject
from sam_backend.export.image_files import ImageFile, ImageFiles, ImageFolder
from sam_backend.export.mask_pngs import write_class_pngs, write_object_pngs
from sam_backend.export.task_files import write_task_files
from sam_backend.export.task_records import TaskRecords
from sam_backend.export.task_split import SPLITS, TaskSplit
from sam_backend.export.yolo_dataset import write_yolo
from sam_backend.label_studio.client import Json, LabelStudioClient
from sam_backend.label_studio.projects import ProjectDetails
from sam_backend.label_studio.retry_policy import RetryPolicy
from sam_backend.label_studio.stored_annotations import final_annotation, newest_prediction
from sam_backend.label_studio.task_pages import StoredTask, stored_task_pages
from sam_backend.protocol.labeling_config import LabelingConfig, ObjectTag
from sam_backend.shapes.labeled_objects import KINDS, LabeledObject, objects_from_results
from sam_model.annotation.atomic_file import write_atomically
from sam_model.annotation.coco import CocoSegmentation
from sam_model.images.errors import ImageDecodeError

FORMATS = ("coco", "yolo-seg", "png", "semantic", "label-studio")
PARALLEL_TASKS = 4  # of a page; most of the time is spent on fetching images
WORK = ".export"  # folder of the records, within the output folder
MANIFEST = "export.json"  # marks a folder as an export, so that a new export may replace its files
ERRORS = "errors.jsonl"
LABELING_CONFIG = "label-config.xml"


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export."""

    format: str  # one of FORMATS
    split: TaskSplit = field(default_factory=TaskSplit)
    images: ImageFiles = "copy"
    min_score: float | None = None  # 0..1: tasks without annotation have their predicted regions from this score on
    model_version: str | None = None  # of these predictions; None: the newest prediction of each task
    coco_segmentation: CocoSegmentation = "rle"
    image_url_prefix: str | None = None  # for label-studio: addresses of the copied images, instead of the task's own


@dataclass(frozen=True)
class ExportReport:
    """The result of an export."""

    tasks: int  # with an annotation, or a prediction if predictions are exported
    images: int
    objects: int
    by_split: dict[str, int]  # number of images
    failures: tuple[tuple[int, str], ...]  # task and reason; also in errors.jsonl
    resumed: int  # tasks that an earlier, interrupted export had read


def export_project(
    api: LabelStudioClient,
    project: ProjectDetails,
    out: Path,
    options: ExportOptions,
    folder_of: Callable[[Path], ImageFolder],
    retry_policy: RetryPolicy,
    *,
    show_progress: bool = True,
) -> ExportReport:
    """Write a project's annotations to the folder `out`; continue an export that was interrupted.

    Args:
        api: of the project's Label Studio.
        project: the project.
        out: a new folder, an empty one, or that of an earlier export, whose files are replaced.
        options: what is exported, and how.
        folder_of: returns the writer of image files for the folder `images`.
        retry_policy: of calls to Label Studio.
        show_progress: show a progress bar if standard error is a terminal.

    Raises:
        BadRequestError: `out` has other files, or the labeling config has no image.
        LabelStudioApiError: Label Studio refuses, or does not answer for too long.
        OSError: a file cannot be written.
    """
    tag = LabelingConfig.from_xml(project.labeling_config).image()
    _check_folder(out)
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    reader = _TaskReader(tag, options, folder_of(out / "images"))
    with FileLock(work / "lock"), TaskRecords(work, {"project": project.id, **asdict(options)}) as records:
        resumed = records.count
        _read_tasks(api, project, reader, records, retry_policy, show_progress)
        report = _write_files(records, project, out, options, resumed)
    shutil.rmtree(work)
    return report


def _check_folder(out: Path) -> None:
    """Raise BadRequestError if a folder has files of somebody else."""
    if out.exists() and not ((out / MANIFEST).exists() or (out / WORK).exists()) and any(out.iterdir()):
        raise BadRequestError(f"--out {out}: the folder has other files; choose a new or empty folder")


def _read_tasks(
    api: LabelStudioClient,
    project: ProjectDetails,
    reader: "_TaskReader",
    records: TaskRecords,
    retry_policy: RetryPolicy,
    show_progress: bool,
) -> None:
    """Record all tasks after the last recorded one."""
    with (
        ThreadPoolExecutor(PARALLEL_TASKS, thread_name_prefix="export") as pool,
        tqdm(
            total=project.tasks or None, desc="read", unit="task", disable=None if show_progress else True
        ) as bar,
    ):  # fmt: skip
        pages = stored_task_pages(
            api, project.id, retry_policy, after_id=records.last_task, with_predictions=reader.wants_predictions
        )
        for tasks, left in pages:
            for record in pool.map(reader.record, tasks):
                records.add(record)
            records.flush()
            bar.total = max(bar.total or 0, records.count + left)
            bar.update(records.count - bar.n)


class _TaskReader:
    """Turns stored tasks into records. Threads may share it."""

    def __init__(self, tag: ObjectTag, options: ExportOptions, folder: ImageFolder) -> None:
        self._tag, self._options, self._folder = tag, options, folder

    @property
    def wants_predictions(self) -> bool:
        return self._options.min_score is not None

    def record(self, task: StoredTask) -> dict[str, Any]:
        """Return the record of a task: its images, or why there are none."""
        source = final_annotation(task.annotations)
        is_annotation = source is not None
        if source is None and self.wants_predictions:
            source = newest_prediction(task.predictions, self._options.model_version)
        if source is None:
            return {"task": task.id, "images": []}
        try:
            return self._record(task, source, is_annotation)
        except (BackendError, ImageDecodeError) as error:
            return {"task": task.id, "images": [], "error": str(error)}

    def _record(self, task: StoredTask, source: Json, is_annotation: bool) -> dict[str, Any]:
        results = source.get("result") or []
        if not is_annotation:
            results = [one for one in results if (one.get("score") or 0.0) >= (self._options.min_score or 0.0)]
        is_for_label_studio = self._options.format == "label-studio"
        found, unreadable = ([], 0) if is_for_label_studio else objects_from_results(results)
        pages = self._tag.sources(task.data)
        split = self._options.split.split_of(task.id)
        images = []
        for page, address in enumerate(pages):
            here = [one for one in found if one.page == page]
            if is_for_label_studio and not (self._options.images != "none" or self._options.image_url_prefix):
                continue
            number = page if self._tag.is_list else None
            file = self._folder.add(address, task.id, number, split, _size_of(here))
            images.append(
                DatasetImage(
                    task.id, number, split, file.name, address, file.size, _dataset_objects(here, file, is_annotation)
                )
            )
        record: dict[str, Any] = {"task": task.id, "images": [image.to_json() for image in images]}
        if unreadable:
            record["warning"] = f"{unreadable} regions have no readable mask and were left out"
        if is_for_label_studio:
            record["import"] = self._importable(task, results, is_annotation, source, images)
        return record

    def _importable(
        self, task: StoredTask, results: list[Json], is_annotation: bool, source: Json, images: list[DatasetImage]
    ) -> dict[str, Any]:
        """Return the task in Label Studio's import format, with all its submitted annotations."""
        data = dict(task.data)
        prefix = self._options.image_url_prefix
        if prefix is not None and self._tag.value.startswith("$"):
            addresses = [f"{prefix}{image.split}/{image.name}" for image in images]
            data[self._tag.value[1:]] = addresses if isinstance(data.get(self._tag.value[1:]), list) else addresses[0]
        if not is_annotation:
            prediction = {name: source.get(name) for name in ("score", "model_version")}
            return {"id": task.id, "data": data, "predictions": [{"result": results, **prediction}]}
        kept = ("id", "result", "was_cancelled", "ground_truth", "lead_time")
        annotations = [
            {name: one[name] for name in kept if name in one}
            for one in task.annotations
            if not one.get("was_cancelled")
        ]
        return {"id": task.id, "data": data, "annotations": annotations}


def _size_of(objects: list[LabeledObject]) -> tuple[int, int] | None:
    return objects[0].mask.size if objects else None


def _dataset_objects(objects: list[LabeledObject], file: ImageFile, is_annotation: bool) -> tuple[DatasetObject, ...]:
    for one in objects:
        if one.mask.size != file.size:
            raise BadRequestError(
                f"region {one.region_id} belongs to an image of {one.mask.size[1]} x {one.mask.size[0]} pixels, the "
                f"image has {file.size[1]} x {file.size[0]}: it was replaced or resized after the annotation"
            )
    return tuple(
        DatasetObject(one.region_id, one.label or UNLABELED, None if is_annotation else one.score, one.mask)
        for one in objects
    )


def _write_files(
    records: TaskRecords, project: ProjectDetails, out: Path, options: ExportOptions, resumed: int
) -> ExportReport:
    """Write the files of the format, and remove those of an earlier export."""
    tasks = objects = 0
    by_split = dict.fromkeys(SPLITS, 0)
    found_labels: set[str] = set()
    failures, warnings = [], []
    for record in records:
        tasks += bool(record["images"]) or "import" in record
        if "error" in record:
            failures.append((int(record["task"]), str(record["error"])))
        if "warning" in record:
            warnings.append((int(record["task"]), str(record["warning"])))
        for image in record["images"]:
            by_split[image["split"]] += 1
            objects += len(image["objects"])
            found_labels.update(one[1] for one in image["objects"])
    class_names = _class_names(LabelingConfig.from_xml(project.labeling_config), found_labels)
    splits = [split for split in SPLITS if by_split[split]]
    problems = [*failures, *warnings]
    _clear_earlier(out)
    _write_format(records, out, options, class_names, splits, f"label-studio-sam, project {project.id}")
    if problems:
        lines = [json.dumps({"task": task, "error": reason}) + "\n" for task, reason in problems]
        write_atomically(out / ERRORS, "".join(lines).encode())
    wanted = {
        Path(image["split"], image["name"]) for record in records for image in record["images"]
    }  # fmt: skip
    if options.images != "none":
        _remove_others(out / "images", wanted)
    if options.format == "label-studio":
        write_atomically(out / LABELING_CONFIG, project.labeling_config.encode())
    manifest = {"project": project.id, "title": project.title, "classes": class_names, **asdict(options)}
    write_atomically(out / MANIFEST, json.dumps({**manifest, "images_by_split": by_split}, indent=1).encode() + b"\n")
    return ExportReport(tasks, sum(by_split.values()), objects, by_split, tuple(problems), resumed)


def _write_format(
    records: TaskRecords, out: Path, options: ExportOptions, class_names: list[str], splits: list[str], made_by: str
) -> None:
    def images() -> Iterator[DatasetImage]:
        return (DatasetImage.from_json(image) for record in records for image in record["images"])

    match options.format:
        case "coco":
            write_coco(images(), out, class_names, splits, options.coco_segmentation, made_by)
        case "yolo-seg":
            write_yolo(images(), out, class_names, splits)
        case "png":
            write_object_pngs(images(), out)
        case "semantic":
            write_class_pngs(images(), out, class_names)
        case _:
            write_task_files((record["import"] for record in records if "import" in record), out)


def _class_names(config: LabelingConfig, found: Iterable[str]) -> list[str]:
    """Return the labels of the config's region tags in its order, then other labels that occur, sorted."""
    kinds = {*KINDS, *(f"{kind}labels" for kind in KINDS), "labels"}
    known = dict.fromkeys(label for tag in config.controls if tag.kind in kinds for label in tag.labels)
    return [*known, *sorted(set(found) - set(known))]


def _clear_earlier(out: Path) -> None:
    """Remove what an earlier export wrote, except images."""
    for folder in ("annotations", "labels", "masks"):
        shutil.rmtree(out / folder, ignore_errors=True)
    for file in (
        *out.glob("tasks*.json"),
        out / "data.yaml",
        out / "objects.jsonl",
        out / "classes.json",
        out / ERRORS,
    ):
        file.unlink(missing_ok=True)


def _remove_others(folder: Path, wanted: set[Path]) -> None:
    for path in folder.rglob("*"):
        if not path.is_dir() and path.relative_to(folder) not in wanted:
            with suppress(FileNotFoundError):
                path.unlink()
