"""A small graph network: the probability that each superpixel belongs to the object.

A layer on each region's inputs, then rounds in which each region adds what its neighbours say, then one logit, which is
added to that of the probability before. The result is the mean logit of a few networks that differ in their initial
weights. `region_network.txt` says what the weights were fitted on.

Source: message passing on graphs, Gilmer et al., arXiv:1704.01212.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sam_model.classical.colour_words import Floats
from sam_model.classical.region_graph import RegionGraph

WEIGHTS = Path(__file__).parent / "region_network.npz"
CERTAIN = 0.05  # probabilities before that are nearer to 0 or 1 count as this


@dataclass(frozen=True)
class RegionNetwork:
    """The weights of K networks with F inputs and H hidden values per region."""

    mean: Floats  # (F,), of the inputs
    scale: Floats  # (F,), their standard deviation
    first: Floats  # (K, F + 1, H); the last row is the bias, also below
    own: Floats  # (R, K, H + 1, H), of a region itself, for each of R rounds
    neighbours: Floats  # (R, K, H, H), of its neighbours
    last: Floats  # (K, H + 1, 1)
    before: Floats  # (K,), of the logit of the probability before

    def __call__(self, graph: RegionGraph, inputs: Floats) -> Floats:
        """Return the probability (n,) of each region, for inputs (n, F)."""
        hidden = np.maximum(_affine((inputs - self.mean) / self.scale, self.first), 0)  # (K, n, H)
        k, n, h = hidden.shape
        for own, neighbours in zip(self.own, self.neighbours, strict=True):
            by_region = hidden.transpose(1, 0, 2).reshape(n, k * h)  # (K, n, H) -> (n, K H)
            mixed = np.asarray(graph.mixing @ by_region).reshape(n, k, h).transpose(1, 0, 2)
            hidden = hidden + np.maximum(_affine(hidden, own) + mixed @ neighbours, 0)
        logits = _affine(hidden, self.last)[..., 0].mean(axis=0) + self.before.mean() * logit(inputs[:, 0], CERTAIN)
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float32)


def logit(probability: Floats, certain: float) -> Floats:
    """Return the logits of probabilities; those nearer to 0 or 1 than `certain` count as `certain`."""
    likely = np.clip(probability, certain, 1 - certain)
    return np.asarray(np.log(likely / (1 - likely)))


def _affine(values: Floats, weights: Floats) -> Floats:
    return np.asarray(values @ weights[:, :-1] + weights[:, -1:])


def load_network(path: Path = WEIGHTS) -> RegionNetwork:
    """Read the weights of a network."""
    with np.load(path, allow_pickle=False) as file:
        return RegionNetwork(**{name: file[name].astype(np.float32) for name in file.files})


def save_network(network: RegionNetwork, path: Path) -> None:
    """Write the weights of a network as float16."""
    np.savez_compressed(path, **{name: values.astype(np.float16) for name, values in vars(network).items()})
