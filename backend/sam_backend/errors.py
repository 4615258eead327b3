"""All errors of the backend that have an HTTP status.

Entries with a file name are defined in that module.

BackendError                      500  not listed below
├── BadRequestError               400  the request is not valid
│   ├── UnsupportedRegionError    400  a region cannot be used as a prompt
│   └── LabelingConfigError       400  the labeling config has no tags for masks, or is not valid
├── CrossSiteRequestError         403  a web page of another origin sent the request
├── UnknownHostError              421  the Host header is not a name of this backend
├── ImageError                    422  the task's image cannot be used
│   ├── ImageNotFoundError        404  it does not exist
│   ├── ImageForbiddenError       403  it may not be fetched: refused, private address, unsupported scheme
│   ├── ImageTooLargeError        413  more bytes or pixels than the settings allow
│   ├── BrokenImageError          422  the bytes are not an image in a supported format
│   ├── ImageUnavailableError     422  its host cannot be reached or answers with an error
│   └── ImageTimeoutError         424  fetching it took too long
├── LabelStudioError              502  Label Studio cannot be reached, refuses, or sends an unexpected answer
│   ├── LabelStudioForbiddenError 403  it refuses the token
│   └── LabelStudioTimeoutError   424  it does not answer in time
├── DecoderBusyError              503  other images use all the memory for decoding
├── ModelNotReadyError            503  the weights are missing or still loading
├── LedgerDamagedError            409  runs/ledger.py
├── LedgerNewerError              409  runs/ledger.py
├── LedgerUnavailableError        503  runs/ledger.py
├── RunElsewhereError             409  runs/origin.py
├── RunStateError                 409  runs/run_store.py
│   └── RunLockedError            409  runs/run_store.py
├── UnknownRunError               404  runs/run_store.py
├── RunStoreError                 503  runs/run_store.py
├── CalibrationError              409  preannotation/calibration.py
├── CalibratedRunError            409  evaluation/run_evaluation.py
├── TooFewRegionsError            409  evaluation/calibration_fit.py
├── NoReportError                 404  service/evaluations.py
├── SwitchRunningError            409  segmenter/models.py
├── UnknownModelError             404  service/model_list.py
├── PreviewTimeoutError           503  service/previews.py
└── UnknownProjectError           404  service/project_lookup.py

A message names the field, its value and the fix; it never contains a token or a path of this machine.
"""


class BackendError(Exception):
    """An error whose message may be shown to the caller."""

    status = 500


class BadRequestError(BackendError):
    """The request is not valid."""

    status = 400


class UnsupportedRegionError(BadRequestError):
    """A region cannot be used as a prompt."""


class LabelingConfigError(BadRequestError):
    """The labeling config has no tags for masks, or is not valid."""


class CrossSiteRequestError(BackendError):
    """A web page of another origin sent the request."""

    status = 403


class UnknownHostError(BackendError):
    """The Host header is not a name of this backend."""

    status = 421


class ImageError(BackendError):
    """The task's image cannot be used."""

    status = 422


class ImageNotFoundError(ImageError):
    """The image does not exist."""

    status = 404


class ImageForbiddenError(ImageError):
    """The image may not be fetched."""

    status = 403


class ImageTooLargeError(ImageError):
    """More bytes or pixels than the settings allow."""

    status = 413


class BrokenImageError(ImageError):
    """The bytes are not an image in a supported format."""


class ImageUnavailableError(ImageError):
    """The image's host cannot be reached or answers with an error; a later request may succeed."""


class ImageTimeoutError(ImageError):
    """Fetching took too long."""

    status = 424  # a failed dependency; not 504, which proxies answer themselves


class LabelStudioError(BackendError):
    """Label Studio cannot be reached, refuses, or sends an unexpected answer."""

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
