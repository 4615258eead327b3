"""Fits the region network of the classical segmenter, and measures it on photographs that it was not fitted on.

A simulated annotator clicks on each training object, with the network that there is so far. The inputs of every step
are stored, and the network is fitted to all of them; then it clicks again (Ross et al., DAgger, arXiv:1011.0686). Each
photograph is used whole and in random crops around the object. The result depends on the seed alone.

    python tests/benchmarks/classical_training.py fit --data FOLDER --group coco --out region_network.npz
    python tests/benchmarks/classical_training.py cross-validate --data FOLDER --group coco --folds 3 --records FILE

`cross-validate` fits one network per fold, on the other folds, and measures it on the photographs of its fold with the
simulated annotator of classical_quality.py, whose docstring describes FOLDER. Up to the second `_`, an id names the
photograph; the objects of a photograph are in the same fold. With `--also FOLDER`, each network is fitted on the
objects of that folder, too.
"""

import argparse
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from classical_quality import (
    Record,
    Sample,
    bounding_box,
    drawn_samples,
    measure,
    measure_all,
    next_click,
    samples_in,
    summaries,
    table,
)
from numpy.typing import NDArray
from scipy.sparse import block_diag, csr_matrix
from torch import Tensor, nn

from sam_model.classical.region_graph import RegionGraph
from sam_model.classical.region_network import CERTAIN, RegionNetwork, load_network, save_network
from sam_model.classical.region_selection import Network, Selection, corrected, empty_selection, selection_in_box
from sam_model.classical.segmenter import ClassicalSegmenter
from sam_model.types import Mask, Point

CROPS = 2  # of each photograph, beside the photograph itself
DRAWN = 30  # images of classical_quality.py that are drawn for training, so that the network also knows plain objects
MEMBERS, HIDDEN, MESSAGES = 3, 16, 3  # size of the network: K, H, R
STEPS = (150, 250, 450)  # of the optimiser, per round of clicks
CLICKS = 7  # per object from the second round on; without a network, the first one has one
BOX_CLICKS = 3  # after a box
BATCH = 10  # states per step
JITTER = 0.25  # standard deviation of a click's place, in depths of the click
BOX_JITTER = 0.04  # of a box's sides, in its width and height
DROPOUT, WEIGHT_DECAY = 0.1, 0.05

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Subject:
    """An object to train on: its image's superpixels, and the truth at the size of the working image and per region."""

    graph: RegionGraph
    truth: Mask
    counts: Mask
    share: Floats  # (n,), of each region that belongs to the object


@dataclass(frozen=True)
class State:
    """The network's inputs (n, F) at one step of a simulated annotation, as float16."""

    subject: Subject
    inputs: NDArray[np.float16]


def subject_of(sample: Sample) -> Subject:
    """Compute the superpixels of a sample."""
    graph = ClassicalSegmenter().embed(sample.image).graph
    size = graph.labels.shape[::-1]
    truth, counts = (
        cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        for mask in (sample.truth, sample.counts)
    )
    pixels = np.bincount(graph.labels.ravel())
    share = np.bincount(graph.labels.ravel(), truth.ravel()) / pixels
    return Subject(graph, truth > 0.5, counts > 0.5, share.astype(np.float32))


def crop_of(sample: Sample, rng: np.random.Generator) -> Sample:
    """Return a random crop around the object, sometimes mirrored, with other brightness and contrast."""
    height, width = sample.truth.shape
    x0, y0, x1, y1 = bounding_box(sample.truth)
    margins = rng.uniform(0.1, 1.5, 4) * [x1 - x0, y1 - y0, x1 - x0, y1 - y0]
    left, top = int(max(0, x0 - margins[0])), int(max(0, y0 - margins[1]))
    right, bottom = int(min(width, x1 + margins[2])), int(min(height, y1 + margins[3]))
    mirror = -1 if rng.random() < 0.5 else 1
    image, truth, counts = (
        np.ascontiguousarray(array[top:bottom, left:right][:, ::mirror])
        for array in (sample.image, sample.truth, sample.counts)
    )
    changed = (image.astype(np.float32) - 128) * rng.uniform(0.7, 1.2) + 128 * rng.uniform(0.85, 1.15)
    return Sample(sample.name, np.clip(changed, 0, 255).astype(np.uint8), truth, counts)


def simulate(
    subject: Subject, network: Network | None, clicks: int, has_box: bool, rng: np.random.Generator
) -> list[State]:
    """Return the states of an annotation with inexact clicks; without a network, the first guess is never corrected."""
    states: list[State] = []

    def predict(graph: RegionGraph, inputs: Floats) -> Floats:
        states.append(State(subject, inputs.astype(np.float16)))
        return network(graph, inputs) if network else inputs[:, 0].copy()

    if not subject.truth.any() or subject.truth.all():
        return states
    selection, mask = empty_selection(subject.graph, None, True), np.zeros_like(subject.truth)
    if has_box:
        box = np.array(bounding_box(subject.truth))
        box += rng.normal(0, BOX_JITTER, 4) * np.tile(box[2:] - box[:2], 2)
        x0, y0, x1, y1 = np.clip(box, 0, np.tile(subject.truth.shape[::-1], 2))
        corners = float(x0), float(y0), float(x1), float(y1)
        selection = selection_in_box(subject.graph, empty_selection(subject.graph, corners, True), corners, predict)
        mask = mask_of(subject, selection)
    made: list[Point] = []
    while len(made) < clicks and (click := next_click(subject.truth, subject.counts, mask, made)):
        made.append(moved(click, subject.truth, mask, rng))
        selection = corrected(subject.graph, selection, made[-1], predict)
        mask = mask_of(subject, selection)
    return states


def mask_of(subject: Subject, selection: Selection) -> Mask:
    """Return the mask of a selection at the size of the working image."""
    assert selection.probability is not None
    return np.asarray((selection.probability > 0.5)[subject.graph.labels])


def moved(click: Point, truth: Mask, mask: Mask, rng: np.random.Generator) -> Point:
    """Return a click near `click` in the same wrong piece."""
    wrong = truth & ~mask if click.is_positive else mask & ~truth
    depths = cv2.distanceTransform(np.pad(wrong.astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    depth = depths[int(click.y), int(click.x)]
    for _ in range(5):
        x, y = click.x + rng.normal(0, JITTER * depth), click.y + rng.normal(0, JITTER * depth)
        if 0 <= x < truth.shape[1] and 0 <= y < truth.shape[0] and wrong[int(y), int(x)]:
            return Point(x, y, click.is_positive)
    return click


class Mixing(torch.autograd.Function):
    """The product of a constant sparse matrix and a dense one."""

    @staticmethod
    def forward(context, hidden: Tensor, matrix: csr_matrix) -> Tensor:
        """Return `matrix @ hidden`."""
        context.matrix = matrix
        return torch.from_numpy(matrix @ hidden.detach().numpy())

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the dense matrix."""
        return torch.from_numpy(np.ascontiguousarray(context.matrix.T @ gradient.numpy())), None


class TrainableNetwork(nn.Module):
    """`RegionNetwork` in PyTorch."""

    def __init__(self, states: Sequence[State]) -> None:
        super().__init__()
        inputs = np.concatenate([state.inputs[::7] for state in states[:: max(1, len(states) // 300)]])
        self.mean = torch.from_numpy(inputs.astype(np.float32).mean(axis=0))
        self.scale = torch.from_numpy(inputs.astype(np.float32).std(axis=0) + 0.05)

        def weights(*shape: int) -> nn.Parameter:
            bound = 1 / np.sqrt(shape[-2] - 1)
            return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

        self.first = weights(MEMBERS, inputs.shape[1] + 1, HIDDEN)
        self.own = weights(MESSAGES, MEMBERS, HIDDEN + 1, HIDDEN)
        self.neighbours = weights(MESSAGES, MEMBERS, HIDDEN, HIDDEN)
        self.last = weights(MEMBERS, HIDDEN + 1, 1)
        self.before = nn.Parameter(torch.full((MEMBERS,), 0.7))

    def forward(self, inputs: Tensor, mixing: csr_matrix) -> Tensor:
        """Return the logits (K, n) of each network for inputs (n, F)."""
        hidden = torch.relu(affine((inputs - self.mean) / self.scale, self.first))  # (K, n, H)
        hidden = nn.functional.dropout(hidden, DROPOUT)
        for own, neighbours in zip(self.own, self.neighbours, strict=True):
            by_region = hidden.transpose(0, 1).flatten(1)  # (K, n, H) -> (n, K H)
            mixed = Mixing.apply(by_region, mixing).unflatten(1, (MEMBERS, HIDDEN)).transpose(0, 1)
            hidden = hidden + torch.relu(affine(hidden, own) + mixed @ neighbours)
        before = torch.logit(inputs[:, 0], CERTAIN)
        return affine(hidden, self.last)[..., 0] + self.before[:, None] * before

    def exported(self) -> RegionNetwork:
        """Return the network for the segmenter."""
        names = ("mean", "scale", "first", "own", "neighbours", "last", "before")
        return RegionNetwork(**{name: getattr(self, name).detach().numpy().copy() for name in names})


def affine(values: Tensor, weights: Tensor) -> Tensor:
    return values @ weights[:, :-1] + weights[:, -1:]


def loss_of(network: TrainableNetwork, states: Sequence[State]) -> Tensor:
    """Return the mean over states of a cross entropy, in which small objects count more, and of 1 - soft IoU."""
    subjects = [state.subject for state in states]
    inputs = torch.from_numpy(np.concatenate([state.inputs for state in states]).astype(np.float32))
    truth = torch.from_numpy(np.concatenate([subject.share for subject in subjects]))
    area = torch.from_numpy(np.concatenate([subject.graph.area for subject in subjects]))
    which = torch.from_numpy(np.repeat(np.arange(len(states)), [subject.graph.count for subject in subjects]))
    logits = network(inputs, block_diag([s.graph.mixing for s in subjects], format="csr", dtype=np.float32))  # (K, n)
    probability = torch.sigmoid(logits)

    def total(values: Tensor) -> Tensor:  # (..., n) -> (..., states)
        return torch.zeros(*values.shape[:-1], len(states)).index_add_(-1, which, values)

    entropy = nn.functional.binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none")
    weight = area * (1 + truth * (0.5 / (total(area * truth)[which] + 0.02) - 1).clamp(min=0))
    inter = total(area * probability * truth)
    union = total(area * (probability + truth - probability * truth))
    losses = 0.7 * total(weight * entropy) / total(weight) + 1 - (inter + 1e-4) / (union + 1e-4)
    return losses.mean(dim=1).sum()  # each network has its own gradient


def fit(samples: Sequence[Sample], seed: int = 0) -> RegionNetwork:
    """Fit a network to samples."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    subjects = [subject_of(s) for sample in samples for s in (sample, *(crop_of(sample, rng) for _ in range(CROPS)))]
    subjects += [subject_of(sample) for sample in drawn_samples(DRAWN, seed=seed + 1000)]
    network: TrainableNetwork | None = None
    pool: list[State] = []
    for number, steps in enumerate(STEPS):
        current, new = network.exported() if network else None, list[State]()
        for subject in subjects:
            for has_box in (False, True) if network else (False, False, True):
                clicks = (BOX_CLICKS if has_box else CLICKS) if network else 1
                new += simulate(subject, current, clicks, has_box, rng)
        pool = pool[::2] + new if number > 1 else new
        network = network or TrainableNetwork(pool)
        rate = 3e-3 if number else 4e-3
        optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
        losses = []
        for _ in range(steps):
            chosen = rng.choice(len(pool), min(BATCH, len(pool)), replace=False)
            loss = loss_of(network, [pool[k] for k in chosen])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        print(f"round {number + 1}: {len(pool)} states, mean loss {np.mean(losses) / MEMBERS:.3f}", flush=True)
    assert network is not None
    return network.exported()


def fold_of(sample: Sample, folds: int) -> int:
    """Return a sample's fold, which depends on the name of its photograph alone."""
    return zlib.crc32("_".join(sample.name.split("_")[:2]).encode()) % folds


def cross_validate(
    samples: Sequence[Sample], also: Sequence[Sample], folds: int, seed: int, networks: Path, jobs: int
) -> list[Record]:
    """Measure each sample with a network that was fitted on the other folds and on `also`.

    The networks are kept in the folder `networks`. `jobs` processes measure.
    """
    records = []
    for fold in range(folds):
        path = networks / f"{seed}_{fold}_of_{folds}.npz"
        if not path.exists():
            save_network(fit([*(s for s in samples if fold_of(s, folds) != fold), *also], seed), path)
        segmenter = ClassicalSegmenter(load_network(path))
        left_out = [sample for sample in samples if fold_of(sample, folds) == fold]
        records += measure_all(partial(measure, segmenter), left_out, jobs)
    return records


def main() -> None:
    """Fit a network, or cross-validate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["fit", "cross-validate"])
    parser.add_argument("--data", type=Path, required=True, help="folder with index.json, images and masks")
    parser.add_argument("--also", type=Path, help="folder of further objects to fit on, which are not measured")
    parser.add_argument("--group", default="coco", help="only the objects whose id starts with this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="processes that measure, of `cross-validate`")
    parser.add_argument("--out", type=Path, default=Path("region_network.npz"), help="of `fit`")
    parser.add_argument(
        "--networks", type=Path, default=Path(), help="folder of `cross-validate` for the folds' networks"
    )
    parser.add_argument("--records", type=Path, help="JSON file of `cross-validate` for each object's figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    samples, also = (
        [sample for sample in samples_in(folder) if sample.name.startswith(options.group)] if folder else []
        for folder in (options.data, options.also)
    )
    if options.command == "fit":
        save_network(fit([*samples, *also], options.seed), options.out)
        return
    records = cross_validate(samples, also, options.folds, options.seed, options.networks, options.jobs)
    if options.records:
        options.records.write_text(json.dumps({options.data.name: [asdict(record) for record in records]}))
    print(table(summaries(records)))
    print(
        json.dumps(
            {"benchmark": "classical_training", "folds": options.folds, "sets": {options.data.name: summaries(records)}}
        )
    )


if __name__ == "__main__":
    main()
