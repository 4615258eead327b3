"""Names that checkpoints of YOLO models may mention. The reader creates inert stand-ins for them.

Collected from the pickles of such files, written by Ultralytics 8.0 to 8.4, and from its documentation. Of Ultralytics
and of PyTorch's layers any name may occur, so that an unknown layer or task can be named in a message.
"""

import re

STORAGES = {
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.DoubleStorage": "float64",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}
TASKS = {
    "ultralytics.nn.tasks.DetectionModel": "detect",
    "ultralytics.nn.tasks.SegmentationModel": "segment",
    "ultralytics.nn.tasks.PoseModel": "pose",
    "ultralytics.nn.tasks.OBBModel": "obb",
    "ultralytics.nn.tasks.ClassificationModel": "classify",
    "ultralytics.nn.tasks.RTDETRDetectionModel": "detect with RT-DETR",
    "ultralytics.nn.tasks.WorldModel": "detect with YOLO-World",
    "ultralytics.nn.tasks.YOLOEModel": "detect with YOLOE",
    "ultralytics.nn.tasks.YOLOESegModel": "segment with YOLOE",
    "ultralytics.nn.tasks.SemanticSegmentationModel": "semantic segmentation",
    "ultralytics.nn.tasks.DepthModel": "depth",
}

WITHOUT_BOXES = ("classify", "semantic segmentation", "depth")  # of these tasks
CLASSES = re.compile(r"ultralytics(\.[A-Za-z_]\w*){2,}|torch\.nn\.modules\.[a-z]+\.[A-Z]\w*")

_NAMES = frozenset(
    [
        *STORAGES,
        *(f"torch.{kind}" for kind in ("float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool")),
        "torch.Size",
        "torch.device",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "collections.OrderedDict",
        "builtins.set",
        "__builtin__.set",
        "builtins.getattr",  # the method that a fused module runs
        "__builtin__.getattr",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "pathlib.PurePosixPath",
        "pathlib._local.PosixPath",  # Python 3.13
        "pathlib._local.WindowsPath",
        "numpy.dtype",  # a metric of the training, as a scalar
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "_codecs.encode",
    ]
)


def is_stand_in(name: str) -> bool:
    """Return whether a checkpoint may mention a class or function, given with its module."""
    return name in _NAMES or CLASSES.fullmatch(name) is not None
