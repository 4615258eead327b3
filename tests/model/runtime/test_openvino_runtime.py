import os
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sam_model.runtime import openvino_runtime
from sam_testing.memory import anonymous_bytes, mapped_file_bytes

pytest.importorskip("openvino", reason="needs the extra [cpu]")

SIDE, CHANNELS = 512, 64
RESULT_BYTES = SIDE * SIDE * CHANNELS * 4  # of one intermediate result: 67 MB, more than malloc keeps


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_network_that_is_not_used_gives_its_memory_back_and_then_computes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, CHANNELS, 3), nn.Conv2d(CHANNELS, CHANNELS, 3), nn.AvgPool2d(SIDE - 4))
    image = torch.rand(1, 3, SIDE, SIDE)
    path = tmp_path / "layers.openvino"
    openvino_runtime.convert(layers, [image], [image.shape], path, "float32")
    network = openvino_runtime.OpenVinoNetwork(path, "float32")
    before = network(image)[0]

    monkeypatch.setattr(openvino_runtime, "LONG_CALL_S", 1000.0)
    openvino_runtime.release_memory()  # the call was short
    kept = anonymous_bytes(os.getpid())
    monkeypatch.setattr(openvino_runtime, "LONG_CALL_S", 0.0)
    openvino_runtime.release_memory()

    assert kept - anonymous_bytes(os.getpid()) > RESULT_BYTES
    assert mapped_file_bytes(path, "Rss") == 0
    assert torch.equal(network(image)[0], before)
    assert mapped_file_bytes(path, "Anonymous") == 0  # pages that were written to would be lost


def test_a_network_in_use_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, path = torch.rand(1, 3, 8, 8), tmp_path / "layer.openvino"
    openvino_runtime.convert(nn.Conv2d(3, 3, 3), [image], [image.shape], path, "float32")
    network = openvino_runtime.OpenVinoNetwork(path, "float32")
    monkeypatch.setattr(network, "_drop_file_pages", lambda: pytest.fail("the network is in use"))

    with network._lock:
        network.release_memory()
