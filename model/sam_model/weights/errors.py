"""Errors about weights.

WeightsError
├── WeightsUnavailableError  the file is missing and cannot be downloaded
└── BrokenWeightsError       the file is not what it should be

A message names the file, but never its folder.
"""


class WeightsError(Exception):
    """An error about a file of weights."""


class WeightsUnavailableError(WeightsError):
    """The weights are missing and cannot be downloaded. The message says how to get them."""


class BrokenWeightsError(WeightsError):
    """A file is not the expected checkpoint: truncated, modified, of another model, or with code in it."""
