"""Names that checkpoints of YOLO models may mention. The reader creates inert stand-ins for them.

Collected from the pickles of such files, written by Ultralytics 8.0 to 8.3, and from its documentation.
"""

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
}

_LAYERS = """
    Attention Bottleneck BottleneckCSP C1 C2 C2f C2fAttn C2fCIB C2fPSA C2PSA C3 C3Ghost C3TR C3k C3k2 C3x CBAM CIB
    ChannelAttention Classify Concat Conv Conv2 ConvTranspose DFL DWConv DWConvTranspose2d Detect Focus
    GhostBottleneck GhostConv HGBlock HGStem Index LightConv OBB PSA PSABlock Pose Proto RTDETRDecoder RepC3 RepConv
    RepVGGDW SCDown SPP SPPELAN SPPF Segment SpatialAttention TorchVision WorldDetect YOLOEDetect YOLOESegment
    v10Detect
"""
_TORCH = {
    "activation": "ELU GELU Hardswish Hardtanh LeakyReLU Mish MultiheadAttention ReLU ReLU6 SiLU Sigmoid Softmax",
    "batchnorm": "BatchNorm1d BatchNorm2d SyncBatchNorm",
    "container": "ModuleDict ModuleList Sequential",
    "conv": "Conv1d Conv2d ConvTranspose2d",
    "dropout": "Dropout Dropout2d",
    "flatten": "Flatten Unflatten",
    "linear": "Identity Linear",
    "loss": "BCEWithLogitsLoss CrossEntropyLoss",
    "normalization": "GroupNorm LayerNorm",
    "padding": "ZeroPad2d",
    "pooling": "AdaptiveAvgPool2d AvgPool2d MaxPool2d",
    "upsampling": "Upsample UpsamplingNearest2d",
}
_LOSSES = "BboxLoss DFLoss v8DetectionLoss v8OBBLoss v8PoseLoss v8SegmentationLoss"

STAND_INS = frozenset(
    [
        *STORAGES,
        *TASKS,
        *(f"ultralytics.nn.modules.{layer}" for layer in _LAYERS.split()),  # 8.0, where it was one file
        *(f"ultralytics.nn.modules.{file}.{layer}" for file in ("block", "conv", "head") for layer in _LAYERS.split()),
        *(f"torch.nn.modules.{file}.{layer}" for file, layers in _TORCH.items() for layer in layers.split()),
        *(f"ultralytics.utils.loss.{loss}" for loss in _LOSSES.split()),
        *(f"torch.{kind}" for kind in ("float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool")),
        "ultralytics.nn.modules.transformer.TransformerBlock",
        "ultralytics.utils.tal.TaskAlignedAssigner",
        "ultralytics.utils.IterableSimpleNamespace",
        "ultralytics.yolo.utils.IterableSimpleNamespace",
        "torch.Size",
        "torch.device",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "collections.OrderedDict",
        "builtins.set",
        "__builtin__.set",
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
