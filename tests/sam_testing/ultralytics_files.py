"""Checkpoint files written by Ultralytics itself: seeded, with calibrated normalisation and heads."""

import os
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

# before Ultralytics is imported: where it may write, and that it may neither call home nor install anything
os.environ["YOLO_CONFIG_DIR"] = tempfile.mkdtemp()
os.environ["YOLO_OFFLINE"] = "true"
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["YOLO_VERBOSE"] = "false"

BRANCHES = ("cv2", "cv3", "cv4", "one2one_cv2", "one2one_cv3", "one2one_cv4")
CLASS_BIAS = -2.5  # of the class logits, whose deviation is 1


def ultralytics_image(name: str) -> NDArray[np.uint8]:
    """Return one of the images of the ultralytics package, RGB."""
    import ultralytics

    image = cv2.imread(str(Path(ultralytics.__file__).parent / "assets" / name))
    assert image is not None
    return np.ascontiguousarray(image[..., ::-1])


def write_ultralytics_file(
    path: Path, description: str, classes: int | None = None, side: int = 640, gain: float = 1.0
) -> Path:
    """Write the model of a configuration such as `yolov8n-seg.yaml`, with statistics of images of `side` pixels.

    With a `gain` of normalisation layers well below 1, activations are nearly linear, so that differences of precision
    do not grow from layer to layer, as they do in large networks with random weights.
    """
    from ultralytics import YOLO
    from ultralytics.nn.tasks import DetectionModel, SegmentationModel

    torch.manual_seed(0)
    model: Any = YOLO(description)
    if classes is not None:
        kind = SegmentationModel if "-seg" in description else DetectionModel
        other = kind(description, nc=classes, verbose=False)
        other.args, other.task = model.model.args, model.model.task
        model.model = other
        model.model.names = {index: f"kind {index}" for index in range(classes)}
    for module in model.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.weight, gain)
    calibrate(model.model, side)
    model.save(path)
    return path


@torch.no_grad()
def calibrate(network: Any, side: int) -> None:
    """Calibrate the normalisation layers on two images, and scale the heads so that output varies by position."""
    images = [cv2.resize(ultralytics_image(name), (side, side)) for name in ("bus.jpg", "zidane.jpg")]
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    head = network.model[-1]
    for name, weight in head.named_parameters():  # made as copies of the one-to-many branches
        if name.startswith("one2one") and name.endswith("conv.weight"):
            weight.copy_(weight[torch.randperm(len(weight))])
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    network.train()
    network(pixels)
    network.eval()
    for norm in norms:  # a channel that hardly differs here must not explode elsewhere
        norm.running_var.add_(0.1 * norm.running_var.mean())
    last_layers = [layers[-1] for branch in BRANCHES for layers in getattr(head, branch, ())]
    deviation: dict[Any, torch.Tensor] = {}
    hooks = [layer.register_forward_hook(lambda x, _, out: deviation.update({x: out.std()})) for layer in last_layers]
    network(pixels)
    for hook in hooks:
        hook.remove()
    for layer in last_layers:
        layer.weight.div_(deviation[layer])
        layer.bias.zero_()
    for branch in ("cv3", "one2one_cv3"):
        for layers in getattr(head, branch, ()):
            layers[-1].bias.fill_(CLASS_BIAS)
