"""Runs that store the embeddings of a project: resumable, bounded by the folder's size, without predictions."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam_backend.commands.main import main
from sam_backend.embeddings.disk import EmbeddingFolder
from sam_backend.errors import BadRequestError
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.runs import image_builder
from sam_backend.runs.progress import RunProgress
from sam_backend.runs.run_store import Run, RunStateError, RunStore
from sam_backend.runs.runner import work_on
from sam_backend.segmenter.choice import ModelChoice
from sam_backend.settings import MIB, Settings
from sam_model.sam.segmenter import SamSegmenter
from sam_model.weights.store import store_from_env
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio
from sam_testing.memory import peak_growth
from sam_testing.seeded_checkpoints import TINY_MOBILE_SAM, seeded_sam

EMBED = RunConfiguration(1, purpose="embeddings", policy="add")


def image(number: int) -> str:
    """Return an image that differs for each number, as a data URL."""
    pixels = np.full((8, 12, 3), 90, np.uint8)
    pixels[0, :4, 0] = [number >> shift & 255 for shift in (0, 8, 16, 24)]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


class Embedding:
    """A fake Label Studio, a runs folder, an embeddings folder, and a tiny SAM."""

    def __init__(self, url: str, store: Store, folder: Path) -> None:
        self.url, self.store, self.folder = url, store, folder
        self.segmenter = SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny")
        self.embedded: list[int] = []
        embed = self.segmenter.embed
        self.segmenter.embed = lambda pixels: (self.embedded.append(1), embed(pixels))[1]  # type: ignore[method-assign]
        self.settings = Settings(embeddings_dir=folder / "embeddings", runs_dir=folder / "runs", embeddings_mib=1)
        self.run = RunStore(folder / "runs").create(EMBED)

    def work(self, run: Run | None = None) -> RunProgress:
        return work_on(
            run or self.run,
            settings=self.settings,
            access=LabelStudioCredentials(self.url, TOKEN),
            store=store_from_env({"SAM_OFFLINE": "1"}),
        )

    def files(self) -> list[Path]:
        return list((self.folder / "embeddings").glob("*.embedding"))


@pytest.fixture
def embedding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Embedding]:
    store = Store()
    with fake_label_studio(store) as url:
        made = Embedding(url, store, tmp_path)
        choice = ModelChoice("tiny", "tiny-1", lambda _: made.segmenter)
        monkeypatch.setattr(image_builder, "segmenter_choice", lambda *_: choice)
        yield made


def test_each_image_is_embedded_once_and_no_prediction_is_written(embedding: Embedding) -> None:
    embedding.store.tasks = {number: {"image": image(number)} for number in range(1, 21)}
    embedding.store.tasks[7] = {"image": "data:image/png;base64,AAAA"}

    progress = embedding.work()
    again = embedding.work(RunStore(embedding.folder / "runs").create(EMBED))

    assert (progress.state, progress.counts.written, progress.counts.failed) == ("finished", 19, 1)
    assert (again.counts.written, again.counts.skipped, again.counts.failed) == (0, 19, 1)
    assert len(embedding.files()) == len(embedding.embedded) == 19
    assert embedding.store.predictions == {}
    assert embedding.store.imports == 0
    assert progress.model_version.startswith("label-studio-sam embeddings+tiny ")


def test_a_paused_run_goes_on_where_it_stopped_and_cannot_be_undone(embedding: Embedding) -> None:
    embedding.store.tasks = {number: {"image": image(number)} for number in range(1, 41)}
    embed = embedding.segmenter.embed
    may_go_on = threading.Event()

    def embed_some(pixels: Any) -> Any:
        if len(embedding.embedded) == 5:
            embedding.run.request("pause")
            may_go_on.wait(10)
        return embed(pixels)

    embedding.segmenter.embed = embed_some  # type: ignore[method-assign]
    paused = embedding.work()
    may_go_on.set()
    embedding.segmenter.embed = embed  # type: ignore[method-assign]
    embedding.run.request("resume")
    finished = embedding.work()

    assert paused.state == "paused"
    assert finished.counts.written + finished.counts.skipped == 40
    assert len(embedding.files()) == 40
    with pytest.raises(RunStateError, match="embeddings clear"):
        embedding.run.request("undo")


def test_a_folder_that_is_too_small_stays_within_its_limit_and_the_run_says_so(embedding: Embedding) -> None:
    (first,) = {len(image(1))}
    embedding.store.tasks = {number: {"image": image(number)} for number in range(1, 101)}
    limit = 40_000
    folder = EmbeddingFolder(embedding.folder / "embeddings", limit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_builder, "embedding_folder", lambda _: folder)
        progress = embedding.work()

    assert first
    assert progress.counts.written == 100
    assert sum(file.stat().st_size for file in embedding.files()) <= limit
    assert "the folder is full" in progress.message


def test_without_a_folder_and_with_a_model_whose_embeddings_are_not_stored_the_run_is_refused(
    embedding: Embedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding.store.add_tasks(1)
    monkeypatch.undo()
    embedding.settings = Settings(model="classical", embeddings_dir=embedding.folder / "embeddings")
    progress = embedding.work()

    assert progress.state == "failed"
    assert "embeddings of classical are not stored" in progress.message
    with pytest.raises(BadRequestError, match="SAM_EMBEDDINGS_DIR is not set"):
        image_builder.check_build(Settings())


def test_the_command_line_builds_counts_and_clears(
    embedding: Embedding, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    embedding.store.tasks = {number: {"image": image(number)} for number in range(1, 4)}
    folder = embedding.folder / "embeddings"
    for variable, value in {
        "LABEL_STUDIO_URL": embedding.url,
        "LABEL_STUDIO_API_KEY": TOKEN,
        "SAM_RUNS_DIR": str(embedding.folder / "other runs"),
        "SAM_EMBEDDINGS_DIR": str(folder),
    }.items():
        monkeypatch.setenv(variable, value)

    codes = [main(["embeddings", "build", "--project", "1"]), main(["embeddings", "stats"])]
    codes += [main(["embeddings", "clear"]), main(["embeddings", "stats", "--json"])]
    said = capsys.readouterr().out.splitlines()

    assert codes == [0, 0, 0, 0]
    assert said[0].endswith("finished: 3 embedded, 0 embedded before, 0 failed")
    assert said[1].startswith("3 embeddings, ")
    assert said[2] == "3 embeddings removed"
    assert json.loads(said[3])["files"] == 0
    monkeypatch.delenv("SAM_EMBEDDINGS_DIR")
    assert main(["embeddings", "stats"]) == 2


@pytest.mark.slow
def test_thousands_of_images_go_through_a_full_folder_at_flat_memory(tmp_path: Path) -> None:
    """The folder is never above its limit, and 2,000 images need no more memory than 300; a benchmark does 10,000."""
    setup = f"""
    import benchmarks.embedding_run as benchmark
    run = benchmark.EmbeddingRun({str(tmp_path)!r}, limit_bytes={4 * MIB}, channels=4)
    run.work(300)
    """
    growth, largest = peak_growth(setup, "run.work(2000); result = run.largest_bytes")

    assert 3 * MIB < largest <= 4 * MIB
    assert growth < 40 * MIB
