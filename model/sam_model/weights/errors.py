"""Errors about weights.

WeightsError
├── WeightsUnavailableError  the file is missing and cannot be downloaded
└── BrokenWeightsError       the file is not what it should be

A message names the file, but never its folder.
"""


class WeightsError(Exception):
    """An error about a file of weights."""


class WeightsUnavailableError(WeightsError):
    """The weights are missing and cannot be downloaded. The message says how to get them.

    `status` is the server's answer, such as 404, or None if it is not the reason.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class BrokenWeightsError(WeightsError):
    """A file is not the expected checkpoint: truncated, modified, of another model, or with code in it."""
