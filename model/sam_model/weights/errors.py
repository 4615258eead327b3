"""Everything that can go wrong with a file of weights.

WeightsError
├── WeightsUnavailableError  it is not here, and cannot be fetched
└── BrokenWeightsError       it is here, and is not what it should be

A message names the file, never the folder that it was read from.
"""


class WeightsError(Exception):
    """Something is wrong with a file of weights."""


class WeightsUnavailableError(WeightsError):
    """The weights are not here and cannot be fetched; the message says how to bring them."""


class BrokenWeightsError(WeightsError):
    """A file is not the checkpoint that it should be: cut off, changed, of another model, or with code in it."""
