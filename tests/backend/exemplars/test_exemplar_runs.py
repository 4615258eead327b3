import base64
import json
import pickle
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sam_backend.errors import BadRequestError
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.local_executor import compute_threads
from sam_backend.preannotation.outcome import BulkTask, Outcome
from sam_backend.preannotation.preannotator import Preannotator
from sam_backend.runs.preview import preview_run
from sam_backend.runs.progress import RunProgress
from sam_backend.runs.run_store import Run, RunStateError, RunStore
from sam_backend.runs.runner import work_on
from sam_backend.settings import Settings
from sam_backend.shapes.brush import brush_value
from sam_backend.shapes.labeled_objects import objects_from_results
from sam_model.classical.segmenter import ClassicalEmbedding, ClassicalSegmenter
from sam_model.exemplars.proposals import propose_regions
from sam_model.masks.boxes import box_from_mask
from sam_model.types import Detection, Image, Mask
from sam_model.weights.store import store_from_env
from sam_testing.drawn_classes import HEIGHT, STAR, WIDTH, DrawnObject, drawn_classes
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio

TASKS = 5


def region(number: int, mask: Mask, label: str = "person") -> dict[str, Any]:
    value = brush_value(mask)
    return {
        "id": f"r{number}",
        "type": "brushlabels",
        "from_name": "mask",
        "to_name": "image",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "value": {**value, "rle": [int(one) for one in value["rle"]], "brushlabels": [label]},
    }


class Project:
    """Tasks with drawn images in a fake Label Studio; stars are persons."""

    def __init__(self, url: str, store: Store, folder: Path) -> None:
        self.url, self.store, self.folder = url, store, folder
        self.objects: dict[int, list[DrawnObject]] = {}
        self.said: list[str] = []
        store.keeps_whole_regions = True
        for task in range(1, TASKS + 1):
            image, self.objects[task] = drawn_classes(200 + task)
            png = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
            store.tasks[task] = {"image": "data:image/png;base64," + base64.b64encode(png).decode()}

    def stars(self, task: int) -> list[Mask]:
        return [one.mask for one in self.objects[task] if one.kind == STAR]

    def annotate(self, task: int, masks: Sequence[Mask], number: int = 7) -> None:
        results = [region(position, mask) for position, mask in enumerate(masks)]
        self.store.annotations[task] = [{"id": number, "result": results, "was_cancelled": False}]

    def run(self, executor: Any = None, **asked: Any) -> tuple[Run, RunProgress]:
        asked = {"project": 1, "detector": "exemplars", **asked}
        run = RunStore(self.folder / "runs").create(RunConfiguration.from_json(asked))
        return run, self.work(run, executor)

    def work(self, run: Run, executor: Any = None) -> RunProgress:
        return work_on(
            run,
            settings=Settings(model="classical", embeddings_dir=self.folder / "embeddings"),
            access=LabelStudioCredentials(self.url, TOKEN),
            store=store_from_env({"SAM_OFFLINE": "1", "SAM_WEIGHTS_DIR": str(self.folder / "weights")}),
            notify=self.said.append,
            executor_for=executor,
            give_up_after_s=20,
        )

    def found(self, task: int) -> list[Mask]:
        return [
            one.mask.mask
            for prediction in self.store.predictions.get(task, [])
            for one in objects_from_results(prediction["result"])[0]
        ]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    store = Store()
    with fake_label_studio(store) as url:
        yield Project(url, store, tmp_path)


def iou(one: Mask, other: Mask) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


def test_one_annotated_task_predicts_the_others_and_undo_removes_everything(project: Project) -> None:
    project.annotate(2, project.stars(2))
    before = {task: list(found) for task, found in project.store.annotations.items()}

    run, progress = project.run()

    assert progress.state == "finished", progress.message
    assert "annotations 7" in progress.message
    assert (progress.counts.written, progress.counts.failed) == (TASKS - 1, 0)
    assert not project.found(2)  # the example's own task
    for task in (1, 3, 4, 5):
        expected = project.stars(task)
        assert len(project.found(task)) == len(expected)
        assert all(max(iou(mask, one) for one in expected) > 0.8 for mask in project.found(task))
    assert {one["result"][0]["value"]["brushlabels"][0] for one in project.store.predictions[1]} == {"person"}
    run.request("undo")
    assert project.work(run).state == "undone"
    assert not any(project.store.predictions.values())
    assert project.store.annotations == before


def test_what_an_annotator_removed_is_not_found_again(project: Project) -> None:
    stars = project.stars(1)
    ring = next(one.mask for one in project.objects[1] if one.kind != STAR)
    prediction = [region(0, stars[0]), region(1, ring)]
    project.store.add_prediction(1, result=prediction, model_version="label-studio-sam exemplars+classical 12345678")
    project.annotate(1, stars)
    project.annotate(2, [*project.stars(2), next(one.mask for one in project.objects[2] if one.kind != STAR)], 8)

    project.run(filter={"ids": [3, 4]})

    for task in (3, 4):
        assert len(project.found(task)) == len(project.stars(task))


def test_a_skipped_task_rejects_what_was_predicted_in_it(project: Project) -> None:
    ring = next(one.mask for one in project.objects[1] if one.kind != STAR)
    version = "label-studio-sam exemplars+classical 12345678"
    project.store.add_prediction(1, result=[region(0, ring)], model_version=version)
    project.store.add_prediction(5, result=[region(0, ring)], model_version="someone else")
    for task in (1, 5):
        project.store.annotations[task] = [{"id": 50 + task, "result": [], "was_cancelled": True}]
    some = next(one.mask for one in project.objects[2] if one.kind != STAR)
    project.annotate(2, [*project.stars(2), some], 8)

    _, progress = project.run(filter={"ids": [3, 4]})

    assert progress.message.endswith("from the annotations 8")
    for task in (3, 4):
        assert len(project.found(task)) == len(project.stars(task))


def test_further_examples_give_another_version_and_the_index_is_read(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.annotate(1, project.stars(1))
    _, first = project.run()
    monkeypatch.setattr("sam_backend.exemplars.image_regions.propose_regions", None)  # nothing is proposed twice

    _, same = project.run()
    project.annotate(2, project.stars(2), 9)
    _, second = project.run()

    assert (same.counts.skipped, same.counts.written) == (TASKS - 1, 0)
    assert second.state == "finished", second.message
    assert (second.counts.skipped, second.counts.written) == (0, TASKS - 2)
    assert first.model_version == same.model_version != second.model_version
    assert first.model_version.startswith("label-studio-sam exemplars+classical ")


def test_an_index_is_built_by_a_run_that_continues_after_a_pause_and_a_preview_searches_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.annotate(2, project.stars(2))
    asked = RunConfiguration.from_json({"project": 1, "purpose": "regions", "policy": "add"})
    run = RunStore(project.folder / "runs").create(asked)
    proposed: list[int] = []
    may_go_on = threading.Event()

    def propose(*given: Any) -> Any:
        proposed.append(1)
        if len(proposed) == 3:
            run.request("pause")
            may_go_on.wait(60)
        return propose_regions(*given)

    monkeypatch.setattr("sam_backend.exemplars.image_regions.propose_regions", propose)
    paused = project.work(run)
    may_go_on.set()
    run.request("resume")
    finished = project.work(run)
    again = project.work(RunStore(project.folder / "runs").create(asked))
    asked = RunConfiguration.from_json({"project": 1, "detector": "exemplars"})
    preview = preview_run(
        asked,
        1,
        settings=Settings(model="classical", embeddings_dir=project.folder / "embeddings"),
        access=LabelStudioCredentials(project.url, TOKEN),
        store=store_from_env({"SAM_OFFLINE": "1", "SAM_WEIGHTS_DIR": str(project.folder)}),
    )

    assert (paused.state, finished.state) == ("paused", "finished")
    assert paused.counts.written <= 2
    assert (again.counts.written, again.counts.skipped, again.counts.failed) == (0, TASKS, 0)
    assert len(proposed) <= TASKS + compute_threads("classical", Settings())  # a pause drops what they compute
    scores = preview.to_json()["indexed_scores"]
    assert len(scores) == TASKS
    assert min(scores) >= 0.5  # each image has a star
    assert not project.store.predictions
    with pytest.raises(RunStateError, match="embeddings clear"):
        run.request("undo")


def test_a_ray_worker_finds_the_same_with_the_examples_it_is_sent(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam_backend.preannotation.ray_executor import Worker, WorkerOrder

    monkeypatch.setenv("SAM_OFFLINE", "1")
    monkeypatch.setenv("SAM_WEIGHTS_DIR", str(project.folder / "weights"))
    project.annotate(2, project.stars(2))
    run, progress = project.run(filter={"ids": [1]})
    sent: list[bytes] = []

    class KeepExamples:
        def __init__(self, preannotator: Preannotator) -> None:
            order = WorkerOrder(
                run.configuration, project.store.config, run.id, Settings(model="classical"), project.url, TOKEN,
                preannotator.credentials, preannotator.examples,
            )  # fmt: skip
            sent.append(pickle.dumps(order))

        def run(self, tasks: Iterable[BulkTask], is_stopping: object) -> Iterator[Outcome]:
            yield from ()

    project.run(filter={"ids": [3]}, executor=KeepExamples)
    outcome = Worker(pickle.loads(sent[0])).preannotate(BulkTask(1, project.store.tasks[1]))

    assert progress.state == "finished", progress.message
    assert outcome.prediction is not None, outcome.error
    prediction = json.loads(outcome.prediction)
    stored = project.store.predictions[1][0]
    assert prediction["result"] == stored["result"]
    assert prediction["model_version"] == stored["model_version"]


def test_a_preview_shows_the_examples_and_the_scores_of_what_was_found(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.annotate(2, project.stars(2))
    embedded: list[int] = []

    def embed(self: ClassicalSegmenter, image: Image) -> ClassicalEmbedding:
        embedded.append(1)
        return embed_classical(self, image)

    embed_classical = ClassicalSegmenter.embed
    monkeypatch.setattr(ClassicalSegmenter, "embed", embed)
    asked = RunConfiguration.from_json({"project": 1, "detector": "exemplars", "score_threshold": 0.2})

    found = preview_run(
        asked,
        2,
        settings=Settings(model="classical"),
        access=LabelStudioCredentials(project.url, TOKEN),
        store=store_from_env({"SAM_OFFLINE": "1", "SAM_WEIGHTS_DIR": str(project.folder)}),
    ).to_json()

    assert len(found["examples"]) == len(project.stars(2))
    assert found["examples"][0]["image"].startswith("data:image/jpeg;base64,")
    assert (found["examples"][0]["task"], found["examples"][0]["label"]) == (2, "person")
    for image in found["images"]:
        strong = [one for one in image["objects"] if one["score"] >= 0.5]
        assert len(strong) == len(project.stars(image["task"]))
        assert {one["label"] for one in strong} == {"person"}
        assert image["task"] != 2
    assert len(embedded) == 3  # the example's image and two others, each once
    assert not project.store.predictions


def test_the_boxes_of_a_detector_are_the_proposals(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    task = next(task for task in (1, 3, 4, 5) if len(project.stars(task)) > 1)
    left_out, *kept = project.stars(task)
    boxes = [box_from_mask(one.mask) for one in project.objects[task] if one.mask is not left_out]

    class KnownBoxes:
        name, class_names = "known", ("anything",)

        def detect(self, image: Any, *, score_threshold: float, **_: Any) -> list[Detection]:
            return [Detection(box, 0.1, 0, "anything") for box in boxes if box is not None and score_threshold <= 0.1]

    monkeypatch.setattr("sam_backend.preannotation.loading.load_detector", lambda *_, **__: KnownBoxes())
    monkeypatch.setattr("sam_backend.preannotation.loading.detector_identity", lambda *_: ("known", "1"))
    project.annotate(2, project.stars(2))

    _, progress = project.run(filter={"ids": [task]}, proposals="known")

    assert progress.state == "finished", progress.message
    assert len(project.found(task)) == len(kept)
    assert all(max(iou(mask, star) for star in kept) > 0.8 for mask in project.found(task))
    with pytest.raises(BadRequestError, match="proposals='boxes' is neither 'segmenter' nor a detector"):
        RunConfiguration.from_json({"project": 1, "detector": "exemplars", "proposals": "boxes"})


def test_a_run_without_examples_says_what_to_do(project: Project) -> None:
    _, progress = project.run()

    assert progress.state == "failed"
    assert "annotate objects in one task first" in progress.message
