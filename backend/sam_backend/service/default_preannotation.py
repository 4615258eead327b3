"""The pre-annotation of a project that configures none: segment everything, if one label fits all objects."""

from sam_backend.errors import BadRequestError, LabelingConfigError
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.loading import mapping_of
from sam_backend.protocol.labeling_config import LabelingConfig

MAX_LISTED_LABELS = 5


def default_configuration(project: int, config: LabelingConfig) -> RunConfiguration:
    """Return a configuration that gives the project's only label, or no label where a control tag allows that.

    Raises:
        BadRequestError: the project has several labels and no control tag for regions without label, or no control
            tag for masks at all.
    """
    configuration = RunConfiguration(project, detector="everything")
    labels = list(dict.fromkeys(label for tag in config.controls for _, label in tag.label_words))
    try:
        mapping_of(configuration, config, None)
    except LabelingConfigError as error:
        if len(labels) < 2:
            raise
        more = ", ..." if len(labels) > MAX_LISTED_LABELS else ""
        raise BadRequestError(
            f"project {project} has {len(labels)} labels ({', '.join(labels[:MAX_LISTED_LABELS])}{more}) and no "
            "detector that chooses among them: set the extra parameters in Settings > Model > Edit, such as "
            '{"detector": "yolov8n"}, or SAM_DETECTOR'
        ) from error
    return configuration
