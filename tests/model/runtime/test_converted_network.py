import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import Tensor, nn

from sam_model.runtime.converted_network import (
    FLOAT32_SUFFIX,
    KEPT_FILES,
    SUFFIX,
    UNFINISHED,
    ConvertedNetwork,
    Example,
    remove_old,
    remove_unfinished,
)
from sam_model.sam.segmenter import SamSegmenter
from sam_model.types import Image, Point, Prompt
from sam_testing.seeded_checkpoints import TINY_MOBILE_SAM, seeded_sam

pytest.importorskip("openvino", reason="needs the extra [cpu]")

PROMPTS = [
    Prompt(points=(Point(30, 20),)),
    Prompt(points=(Point(50, 10),)),
    Prompt(points=(Point(10, 30), Point(40, 20, is_positive=False)), multimask=True),
]


@pytest.fixture(scope="module")
def image() -> Image:
    return np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def converted_segmenter(folder: Path, dtype: str = "float32") -> SamSegmenter:
    return SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny", "cpu", dtype, runtime="openvino", converted_dir=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, image: Image) -> Path:
    """A folder with the converted networks of a small model."""
    folder = tmp_path_factory.mktemp("openvino")
    segmenter = converted_segmenter(folder)
    before = segmenter.segment(segmenter.embed(image), PROMPTS)  # PyTorch answers until then
    assert segmenter._converted is not None
    assert segmenter._converted.wait(timeout_s=200)
    after = segmenter.segment(segmenter.embed(image), PROMPTS)
    assert all((one.mask == other.mask).mean() > 0.99 for one, other in zip(before, after, strict=True))
    return folder


def test_masks_of_both_runtimes_are_equal_in_float32(folder: Path, image: Image) -> None:
    exact = SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny")
    segmenter = converted_segmenter(folder)
    first = exact.segment(exact.embed(image), PROMPTS)
    with_masks = [
        Prompt(one.points, mask_input=answer.low_res_logits, multimask=True)
        for one, answer in zip(PROMPTS, first, strict=True)
    ]

    expected = [*first, *exact.segment(exact.embed(image), with_masks)]
    answers = segmenter.segment(segmenter.embed(image), PROMPTS)
    answers += segmenter.segment(segmenter.embed(image), with_masks)

    assert segmenter._converted is not None
    assert segmenter._converted.wait(0)  # no PyTorch
    for answer, wanted in zip(answers, expected, strict=True):
        assert answer.score == pytest.approx(wanted.score, abs=1e-4)
        np.testing.assert_allclose(answer.low_res_logits, wanted.low_res_logits, atol=1e-3)
        assert (answer.mask == wanted.mask).mean() > 0.999


def test_the_next_start_reads_the_converted_networks(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    segmenter = converted_segmenter(folder)

    assert segmenter._converted is not None
    assert segmenter._converted.wait(0)
    assert "OpenVINO runs tiny-encoder in float32" in caplog.text
    assert "converting" not in caplog.text
    assert segmenter.fingerprint.endswith("-openvino-float32")


def test_threads_share_a_converted_network(folder: Path, image: Image) -> None:
    segmenter = converted_segmenter(folder)
    images = [image, image[::-1].copy(), image[:, ::-1].copy(), 255 - image]
    expected = [segmenter.embed(one).features.clone() for one in images]
    found: dict[int, Tensor] = {}

    def work(index: int) -> None:
        for _ in range(5):
            found[index] = segmenter.embed(images[index]).features

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for index, features in enumerate(expected):
        assert torch.equal(found[index], features)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def test_a_failed_conversion_leaves_the_network_to_pytorch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(nn.Module):  # a child process cannot import it
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    network = ConvertedNetwork(Broken(), [Example(torch.ones(1, 3))], "broken", "0", "float32", tmp_path)

    assert not network.wait(100)
    assert network(torch.ones(1, 3))[0].tolist() == [[2, 2, 2]]
    assert "could not convert broken for OpenVINO: " in caplog.text
    assert "PyTorch runs it" in caplog.text
    assert not list(tmp_path.glob(f"*{SUFFIX}"))
    assert not list(tmp_path.glob("converting-*"))


def test_a_damaged_file_is_replaced(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for file in folder.glob(f"tiny-encoder-*{SUFFIX}"):
        (tmp_path / file.name).write_bytes(b"damaged" * 100)
    model = seeded_sam(TINY_MOBILE_SAM)

    segmenter = SamSegmenter(model, "tiny", "cpu", "float32", runtime="openvino", converted_dir=tmp_path)

    assert segmenter.embed(np.zeros((8, 9, 3), np.uint8)).features.shape == (1, 32, 8, 8)
    assert "could not read tiny-encoder-" in caplog.text


def test_a_folder_that_cannot_be_written_leaves_the_network_to_pytorch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()

    network = ConvertedNetwork(
        Doubled(), [Example(torch.ones(2))], "doubled", "0", "float32", tmp_path / "file" / "sub"
    )

    assert not network.wait(100)
    assert network(torch.ones(2))[0].tolist() == [2, 2]
    assert "could not convert doubled for OpenVINO: " in caplog.text


def test_a_conversion_ends_with_its_parent_process(tmp_path: Path) -> None:
    request = tmp_path / "request"
    os.mkfifo(request)  # the child waits for somebody who writes
    command = [sys.executable, "-m", "sam_model.runtime.conversion", str(request), str(tmp_path / "result")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as child:
        assert child.stdin is not None
        child.stdin.close()  # the kernel does the same when the parent is killed

        assert child.wait(60) == 1


def test_a_network_that_bfloat16_does_not_suit_is_converted_in_float32(tmp_path: Path) -> None:
    x = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    layers = [layer for _ in range(12) for layer in (nn.Linear(64, 64), nn.LayerNorm(64), nn.Softsign())]
    for norm in layers[1::3]:
        nn.init.constant_(norm.get_parameter("weight"), 10)  # steps: each layer enlarges small differences
    chaotic = nn.Sequential(*layers)

    def network() -> ConvertedNetwork:
        return ConvertedNetwork(chaotic.eval(), [Example(x)], "chaotic", "0", "bfloat16", tmp_path)

    first = network()
    assert first.wait(200)
    second = network()

    assert second.wait(0)  # the file is read
    (file,) = tmp_path.glob(f"chaotic-*{SUFFIX}")
    assert file.name.endswith(FLOAT32_SUFFIX)
    for one in (first, second):
        torch.testing.assert_close(one(x)[0], chaotic(x), atol=0.01, rtol=0)


def test_what_a_killed_conversion_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    ended, running = tmp_path / f"{UNFINISHED}one-0123456789ab", tmp_path / f"{UNFINISHED}two-0123456789ab"
    for folder in (ended, running):
        folder.mkdir()
        (folder / "request").write_bytes(b"0" * 1000)

    with FileLock(tmp_path / "two-0123456789ab.lock"):  # as a process that converts holds it
        remove_unfinished(tmp_path)

        assert not ended.exists()
        assert running.exists()
    remove_unfinished(tmp_path)
    assert not running.exists()


def test_of_old_files_those_used_last_stay(tmp_path: Path) -> None:
    names = [f"mobile-encoder-{number:012x}{SUFFIX}" for number in range(KEPT_FILES + 2)]
    others = [f"mobile-encoder-2-{0:012x}{SUFFIX}", f"mobile-decoder-1-{0:012x}{SUFFIX}"]
    for age, name in enumerate(names + others):
        (tmp_path / name).touch()
        (tmp_path / name.replace(SUFFIX, ".lock")).touch()
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))

    remove_old(tmp_path, "mobile-encoder")

    assert {file.name for file in tmp_path.glob(f"*{SUFFIX}")} == {*names[:KEPT_FILES], *others}
    assert len(list(tmp_path.glob("*.lock"))) == KEPT_FILES + len(others)
