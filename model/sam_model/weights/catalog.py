"""The catalogue of weights: names, URLs, hashes, sizes and licences.

Hashes and sizes were collected from public records of the official files. `folders.py` has the models of several files.
"""

from dataclasses import dataclass
from typing import Literal

META_FILES = "https://dl.fbaipublicfiles.com/segment_anything"
SAM_2_FILES = "https://dl.fbaipublicfiles.com/segment_anything_2/072824"
SAM_2_1_FILES = "https://dl.fbaipublicfiles.com/segment_anything_2/092824"
EFFICIENT_TAM_FILES = "https://huggingface.co/yunyangx/efficient-track-anything/resolve/main"
HQ_SAM_FILES = "https://huggingface.co/lkeab/hq-sam/resolve/main"
MOBILE_SAM_FILES = (
    "https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/f706ad9c4eb7f219c00d9050e46328518ffb65d2/weights"
)
ULTRALYTICS_FILES = "https://github.com/ultralytics/assets/releases/download"


@dataclass(frozen=True)
class WeightFile:
    """A file of weights and its names."""

    model: str  # the model's name in the registry
    file: str  # the official file name
    url: str
    sha256: str  # empty if none is recorded
    size: int  # bytes; 0 if none is recorded
    licence: str
    aliases: tuple[str, ...] = ()  # other names of the same file
    role: Literal["segmenter", "detector"] = "segmenter"
    is_gated: bool = False  # downloads need an account that accepted the licence, and its token

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the file."""
        return (self.model, self.file, *self.aliases)

    @property
    def is_part(self) -> bool:
        """Return whether the file is one of several in a model's folder."""
        return "/" in self.file


def _ultralytics_file(
    model: str,
    file: str,
    sha256: str,
    size: int,
    role: Literal["segmenter", "detector"] = "detector",
    release: str = "v8.3.0",
) -> WeightFile:
    """Return an entry for weights of Ultralytics. They are licensed under AGPL-3.0, and a download says so."""
    return WeightFile(model, file, f"{ULTRALYTICS_FILES}/{release}/{file}", sha256, size, "AGPL-3.0", role=role)


def _sam_2_file(model: str, alias: str, sha256: str, size: int) -> WeightFile:
    """Return an entry for weights of SAM 2 or SAM 2.1; `alias` is Ultralytics' name for them."""
    folder = SAM_2_1_FILES if model.startswith("sam2.1") else SAM_2_FILES
    return WeightFile(model, f"{model}.pt", f"{folder}/{model}.pt", sha256, size, "Apache-2.0", aliases=(alias,))


def _efficient_tam_file(model: str, sha256: str, size: int = 0) -> WeightFile:
    """Return an entry for weights of EfficientTAM."""
    return WeightFile(model, f"{model}.pt", f"{EFFICIENT_TAM_FILES}/{model}.pt", sha256, size, "Apache-2.0")


def _hq_sam_file(model: str, file: str, sha256: str, size: int) -> WeightFile:
    """Return an entry for weights of HQ-SAM."""
    return WeightFile(model, file, f"{HQ_SAM_FILES}/{file}", sha256, size, "Apache-2.0")


CATALOG = (
    WeightFile(
        model="mobile_sam",
        file="mobile_sam.pt",
        url=f"{MOBILE_SAM_FILES}/mobile_sam.pt",
        sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        size=40_728_226,
        licence="Apache-2.0",
        aliases=("vit_t",),
    ),
    WeightFile(
        model="sam_b",
        file="sam_vit_b_01ec64.pth",
        url=f"{META_FILES}/sam_vit_b_01ec64.pth",
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        size=375_042_383,
        licence="Apache-2.0",
        aliases=("sam_b.pt", "vit_b"),
    ),
    WeightFile(
        model="sam_l",
        file="sam_vit_l_0b3195.pth",
        url=f"{META_FILES}/sam_vit_l_0b3195.pth",
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        size=1_249_524_607,
        licence="Apache-2.0",
        aliases=("sam_l.pt", "vit_l"),
    ),
    WeightFile(
        model="sam_h",
        file="sam_vit_h_4b8939.pth",
        url=f"{META_FILES}/sam_vit_h_4b8939.pth",
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        size=2_564_550_879,
        licence="Apache-2.0",
        aliases=("sam_h.pt", "vit_h"),
    ),
    _sam_2_file(
        "sam2.1_hiera_tiny",
        "sam2.1_t.pt",
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        156_008_466,
    ),
    _sam_2_file(
        "sam2.1_hiera_small",
        "sam2.1_s.pt",
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        184_416_285,
    ),
    _sam_2_file(
        "sam2.1_hiera_base_plus",
        "sam2.1_b.pt",
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        323_606_802,
    ),
    _sam_2_file(
        "sam2.1_hiera_large",
        "sam2.1_l.pt",
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        898_083_611,
    ),
    _sam_2_file(
        "sam2_hiera_tiny",
        "sam2_t.pt",
        "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
        155_906_050,
    ),
    _sam_2_file(
        "sam2_hiera_small",
        "sam2_s.pt",
        "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
        184_309_650,
    ),
    _sam_2_file(
        "sam2_hiera_base_plus",
        "sam2_b.pt",
        "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
        323_493_298,
    ),
    _sam_2_file(
        "sam2_hiera_large",
        "sam2_l.pt",
        "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
        897_952_466,
    ),
    _efficient_tam_file(
        "efficienttam_ti", "acbb17b28cca1f860acee09c9ecb6efdb732080dc7a85a07292c31813175fa7d", 71_616_316
    ),
    _efficient_tam_file(
        "efficienttam_s", "2b572be30d9e96ee29c8d785fe157c6b079ede7d56fbc8a3671d4120e63c89cd", 136_375_868
    ),
    _efficient_tam_file("efficienttam_ti_512x512", "7d4d652a465f0081391050932f45d8a66768ccc99c8ea393ce8a5927e83f3b9b"),
    _efficient_tam_file(
        "efficienttam_s_512x512", "67b5840012737ed2c94a4cb8787c5c1b27b3a946045d2e602e65ef77230b6085", 136_379_145
    ),
    _hq_sam_file(
        "sam_hq_tiny",
        "sam_hq_vit_tiny.pth",
        "0f32c075ccdd870ae54db2f7630e7a0878ede5a2b06d05d6fe02c65a82fb7196",
        42_526_881,
    ),
    _hq_sam_file(
        "sam_hq_b", "sam_hq_vit_b.pth", "14a9d662cd6f5a9c2dba6d40ab0058d88d287e4a18fd6fdc6ad5fb1a3fdeaa57", 379_335_069
    ),
    _hq_sam_file(
        "sam_hq_l",
        "sam_hq_vit_l.pth",
        "e1a6c385d62bf005ded91a54d5ec55c985cfc4103ef89c08d90f39f04934c343",
        1_254_865_805,
    ),
    _hq_sam_file(
        "sam_hq_h",
        "sam_hq_vit_h.pth",
        "a7ac14a085326d9fa6199c8c698c4f0e7280afdbb974d2c4660ec60877b45e35",
        2_570_940_653,
    ),
    _ultralytics_file(
        "fastsam_s",
        "FastSAM-s.pt",
        "c9f78716a81c7aff0d608ccc73e1b82ab3aaad86005049f6a92106a0be6d0844",
        23_851_578,
        role="segmenter",
    ),
    _ultralytics_file(
        "fastsam_x",
        "FastSAM-x.pt",
        "752cadc2828edb1cd4bc4f9eb587100631af06ea2108f4c9ed56df4755701e76",
        144_972_346,
        role="segmenter",
        release="v8.2.0",
    ),
    _ultralytics_file(
        "yolov8n",
        "yolov8n.pt",
        "f59b3d833e2ff32e194b5bb8e08d211dc7c5bdf144b90d2c8412c47ccfc83b36",
        6_549_796,
    ),
    _ultralytics_file(
        "yolov8s",
        "yolov8s.pt",
        "1f47a78bf100391c2a140b7ac73a1caae18c32779be7d310658112f7ac9aa78a",
        22_588_772,
    ),
    _ultralytics_file(
        "yolov8m",
        "yolov8m.pt",
        "5d4a90cdc7a21786cc59cd19778e9eafff836df9e2da32524737c7ee6efe4fe5",
        52_136_884,
        release="v8.4.0",
    ),
    _ultralytics_file(
        "yolov8l",
        "yolov8l.pt",
        "64c9115303f6a25575f82200d1b22ec409fa6bd7d08d0313884fc20d919478cd",
        87_792_836,
        release="v8.4.0",
    ),
    _ultralytics_file(
        "yolov8x",
        "yolov8x.pt",
        "3df4ada6b4dad6d657868f2fdf7faecfb34dcfccf3a25c4b82079064718524c8",
        136_890_692,
    ),
    _ultralytics_file(
        "yolov8n-seg",
        "yolov8n-seg.pt",
        "a7cd8f929e1903d78a12a48efecab430209f18dc46cb96c3599a5980c63c423c",
        7_071_756,
    ),
    _ultralytics_file(
        "yolov8s-seg",
        "yolov8s-seg.pt",
        "0bac0770b55e5eb5b76a61bc535673288dcec36c2bc0cd25ee0d584c632f3413",
        23_914_764,
    ),
)


def find_weights(name: str, catalog: tuple[WeightFile, ...] = CATALOG) -> WeightFile:
    """Return the weights called `name`: a model's name, the official file name, or an alias.

    Raises:
        ValueError: the name is unknown.
    """
    for weights in catalog:
        if name in weights.names:
            return weights
    known = ", ".join(weights.model for weights in catalog)
    raise ValueError(f"unknown weights {name!r}; known: {known}")
