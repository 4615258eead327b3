"""Prediction of all images of a source: one `Results` per image, printed, shown and written as the call asks."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sam_model.scripting.call_arguments import OutputSettings
from sam_model.scripting.results import Results
from sam_model.scripting.saving import unused_path
from sam_model.scripting.sources import SourceImage

PredictImage = Callable[[SourceImage], Results]


@dataclass
class Stopwatch:
    """Milliseconds of the stages of a prediction."""

    speed: dict[str, float | None] = field(
        default_factory=lambda: {"preprocess": 0.0, "inference": 0.0, "postprocess": 0.0}
    )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a block to a stage."""
        start = time.perf_counter()
        yield
        self.speed[name] = (self.speed[name] or 0.0) + 1000 * (time.perf_counter() - start)


def predict_images(
    images: Iterator[SourceImage], predict: PredictImage, output: OutputSettings, task: str, stream: bool
) -> list[Results] | Iterator[Results]:
    """Return the results of each image: a list, or a generator if `stream`.

    Args:
        images: the images of a source.
        predict: predicts one image.
        output: what is printed, shown and written.
        task: `segment` or `detect`, for the folder of the files.
        stream: predict an image only when the caller asks for its results.
    """
    results = _predicted(images, predict, output, task)
    return results if stream else list(results)


def _predicted(
    images: Iterator[SourceImage], predict: PredictImage, output: OutputSettings, task: str
) -> Iterator[Results]:
    folder = _folder(output, task) if output.writes_files else None
    names: set[str] = set()
    for number, image in enumerate(images, 1):
        results = predict(image)
        if folder is not None:
            _write(results, folder, file_stem(image, names), output)
        if output.show:
            results.show(
                line_width=output.line_width,
                conf=output.show_conf,
                labels=output.show_labels,
                boxes=output.show_boxes,
            )
        if output.verbose:
            height, width = results.orig_shape
            milliseconds = sum(value or 0.0 for value in results.speed.values())
            total = "" if image.total is None else f"/{image.total}"
            frame = "" if image.frame is None else f" (frame {image.frame})"
            found = f"{height}x{width} {results.verbose()}{milliseconds:.1f}ms"
            print(f"image {number}{total} {image.path}{frame}: {found}")
        yield results
    if folder is not None and output.verbose:
        print(f"Results saved to {folder}")


def _folder(output: OutputSettings, task: str) -> Path:
    """Return the run's folder, which is made."""
    path = Path(output.project or Path("runs") / task) / (output.name or "predict")
    folder = path if output.exist_ok else unused_path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def file_stem(image: SourceImage, names: set[str]) -> str:
    """Return a file name without extension that is not in `names`, and add it.

    Images of equal names in different folders get numbers.
    """
    stem = Path(image.path).stem + ("" if image.frame is None else f"_{image.frame}")
    name, number = stem, 1
    while name in names:
        number += 1
        name = f"{stem}-{number}"
    names.add(name)
    return name


def _write(results: Results, folder: Path, name: str, output: OutputSettings) -> None:
    results.save_dir = str(folder)
    if output.save:
        results.save(
            folder / f"{name}.jpg",
            line_width=output.line_width,
            conf=output.show_conf,
            labels=output.show_labels,
            boxes=output.show_boxes,
        )
    if output.save_txt:
        labels = folder / "labels" / f"{name}.txt"
        labels.unlink(missing_ok=True)
        results.save_txt(labels, save_conf=output.save_conf)
    if output.save_crop:
        results.save_crop(folder / "crops", f"{name}.jpg")
