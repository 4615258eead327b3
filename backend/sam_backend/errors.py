"""Everything that can go wrong because of what we were sent.

BackendError
├── BadRequestError            400  the request is not what Label Studio sends
│   ├── UnsupportedRegionError 400  a region no prompt can be made of
│   └── LabelingConfigError    400  a labeling config no answer can be given for
├── CrossSiteRequestError      403  a web page of another origin sent the request
├── UnknownHostError           421  the Host header holds no name of this backend
├── ImageError                 422  the task's image cannot be used
│   ├── ImageNotFoundError     404  it is not there
│   ├── ImageForbiddenError    403  it may not be fetched: refused, private address, other scheme
│   ├── ImageTooLargeError     413  more bytes or pixels than the settings allow
│   ├── BrokenImageError       422  the bytes are no picture we can read
│   ├── ImageUnavailableError  422  its host cannot be reached, or has a failure of its own
│   └── ImageTimeoutError      424  fetching took too long
├── LabelStudioError           502  Label Studio cannot be asked, or answers with something else
│   ├── LabelStudioForbiddenError 403  it refuses the token
│   └── LabelStudioTimeoutError 424  it does not answer in time
├── DecoderBusyError           503  other images use all the memory for decoding
└── ModelNotReadyError         503  weights missing, or still loading

A message names field and value and what would be right; never a token or a path of this machine.
"""


class BackendError(Exception):
    """An error whose message may be shown to the caller."""

    status = 500


class BadRequestError(BackendError):
    """The request is not what Label Studio sends."""

    status = 400


class UnsupportedRegionError(BadRequestError):
    """A region that no prompt can be made of."""


class LabelingConfigError(BadRequestError):
    """A labeling config that no answer can be given for."""


class CrossSiteRequestError(BackendError):
    """A web page of another origin sent the request."""

    status = 403


class UnknownHostError(BackendError):
    """The Host header holds no name of this backend."""

    status = 421


class ImageError(BackendError):
    """The task's image cannot be used."""

    status = 422


class ImageNotFoundError(ImageError):
    """The image is not there."""

    status = 404


class ImageForbiddenError(ImageError):
    """The image may not be fetched."""

    status = 403


class ImageTooLargeError(ImageError):
    """More bytes or pixels than the settings allow."""

    status = 413


class BrokenImageError(ImageError):
    """The bytes are no picture that we can read."""


class ImageUnavailableError(ImageError):
    """The image's host cannot be reached or has a failure of its own; a later request may succeed."""


class ImageTimeoutError(ImageError):
    """Fetching took too long."""

    status = 424  # a failed dependency; not 504, which proxies answer themselves


class LabelStudioError(BackendError):
    """Label Studio cannot be asked, refuses, or answers with something else."""

    status = 502


class LabelStudioForbiddenError(LabelStudioError):
    """Label Studio refuses the token."""

    status = 403


class LabelStudioTimeoutError(LabelStudioError):
    """Label Studio does not answer in time."""

    status = 424


class DecoderBusyError(BackendError):
    """Other images use all the memory for decoding."""

    status = 503


class ModelNotReadyError(BackendError):
    """Weights are missing, or still loading."""

    status = 503
