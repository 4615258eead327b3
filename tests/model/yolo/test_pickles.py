"""Files with code in them run nothing, and what they asked for is named."""

import io
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sam_model.weights.errors import BrokenWeightsError
from sam_model.yolo.torch_files import StoredTensor, read_torch_file
from sam_testing.gadgets import CONTAINERS, PICKLES

MARKER = "{marker}"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<i", len(value.encode())) + value.encode()  # BINUNICODE


def stack_global(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def shell(marker: Path) -> bytes:
    return b"(" + text(f"echo ran > {marker}") + b"t"


def call(named: bytes) -> Callable[[Path], bytes]:
    return lambda marker: b"\x80\x04" + named + shell(marker) + b"R."


# pickle -> what it runs, and what the message must name
ATTACKS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "a module inside a known one": (call(b"ctorch.nn.modules.os\nsystem\n"), "torch.nn.modules.os.system"),
    "attributes of a known module": (call(stack_global("torch.nn.modules", "os.system")), "torch.nn.modules.os.system"),
    "attributes of a module of Ultralytics": (
        call(stack_global("ultralytics.nn.tasks", "os.system")),
        "ultralytics.nn.tasks.os.system",
    ),
    "attributes of a known class": (
        call(stack_global("ultralytics.nn.modules.conv", "Conv.__init__.__globals__")),
        "ultralytics.nn.modules.conv.Conv.__init__.__globals__",
    ),
    "the known name split elsewhere": (call(stack_global("torch.nn.modules", "conv.Conv2d")), "torch.nn.modules.conv"),
    "a function of PyTorch that unpickles": (call(b"ctorch.storage\n_load_from_bytes\n"), "torch.storage._load_from_"),
    "torch.load": (call(b"ctorch.serialization\nload\n"), "torch.serialization.load"),
    "exec": (
        lambda marker: b"c__builtin__\nexec\n(" + text(f"open({str(marker)!r}, 'w')") + b"tR.",
        "__builtin__.exec",
    ),
    "getattr": (lambda marker: b"cbuiltins\ngetattr\n(cos\nsystem\n" + text("x") + b"tR.", "os.system"),
    "getattr of a known class": (
        lambda marker: b"cbuiltins\ngetattr\n(cultralytics.nn.modules.conv\nConv\n" + text("__init__") + b"tR.",
        "builtins.getattr with __init__",
    ),
    "a method of a module, called": (
        lambda marker: (
            b"cbuiltins\ngetattr\n(cultralytics.nn.modules.conv\nConv\n)R" + text("forward_fuse") + b"tR"
            + shell(marker) + b"R."
        ),
        "to call builtins.getattr",
    ),
    "the importer": (call(b"cimportlib\nimport_module\n"), "importlib.import_module"),
    "a partial function": (call(b"cfunctools\npartial\n"), "functools.partial"),
    "a call remembered in the memo": (
        lambda marker: b"\x80\x02cposix\nsystem\nq\x05" + b"0h\x05" + shell(marker) + b"R.",
        "posix.system",
    ),
    "a name changed in the memo": (
        lambda marker: (
            b"\x80\x04" + text("collections") + b"q\x000" + text("os") + b"q\x000"
            + b"h\x00" + text("system") + b"\x93" + shell(marker) + b"R."
        ),
        "os.system",
    ),
    "the state of a known class": (
        lambda marker: b"\x80\x02cultralytics.nn.modules.conv\nConv\n}" + text("__init__") + b"cos\nsystem\nsb.",
        "os.system",
    ),
    "the state of a known function": (
        lambda marker: b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}" + text("__code__") + text("x") + b"sb.",
        "torch._utils._rebuild_tensor_v2",
    ),
    "a new object with keywords": (
        lambda marker: b"\x80\x04csubprocess\nPopen\n)}" + text("args") + text(f"touch {marker}") + b"s\x92.",
        "subprocess.Popen",
    ),
    "a known class with keywords": (
        lambda marker: b"\x80\x04cultralytics.nn.modules.conv\nConv\n)}" + text("a") + text("b") + b"s\x92.",
        "ultralytics.nn.modules.conv.Conv",
    ),
    "an extension of copyreg": (lambda marker: b"\x80\x02\x82\x07" + shell(marker) + b"R.", "EXT1 7"),
    "a large extension of copyreg": (
        lambda marker: b"\x80\x02\x84\x07\x00\x01\x00" + shell(marker) + b"R.",
        "EXT4 65543",
    ),
    "a persistent id of another kind": (
        lambda marker: b"\x80\x02(" + text("module") + text("os.system") + b"tQ.",
        "module os.system",
    ),
    "a persistent id as text": (lambda marker: b"Pos.system\n.", "os.system"),
    "a storage of another class": (
        lambda marker: (
            b"\x80\x02(" + text("storage") + b"ctorch\nSize\n" + text("0") + text("cpu") + b"K\x01tQ."
        ),
        "torch.Size",
    ),
    "a buffer from outside": (lambda marker: b"\x80\x05\x97.", "NEXT_BUFFER"),
    "calling what a call gave": (
        lambda marker: b"\x80\x02cultralytics.nn.modules.conv\nConv\n)\x81" + shell(marker) + b"R.",
        "to call ultralytics.nn.modules.conv.Conv",
    ),
    "appending to a known object": (
        lambda marker: b"\x80\x02cultralytics.nn.modules.conv\nConv\n)\x81" + text("x") + b"a.",
        "to append to ultralytics.nn.modules.conv.Conv",
    ),
    "setting items of a known object": (
        lambda marker: b"\x80\x02cultralytics.nn.modules.conv\nConv\n)\x81" + text("x") + text("y") + b"s.",
        "to set items of ultralytics.nn.modules.conv.Conv",
    ),
    "hidden behind a good model": (
        lambda marker: b"\x80\x02}" + text("model") + b"}s" + text("extra") + b"cos\nsystem\n" + shell(marker) + b"Rs.",
        "os.system",
    ),
}  # fmt: skip


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_an_attack_asks_for_is_named_and_not_run(
    attack: str, container: str, marker: Path, tmp_path: Path
) -> None:
    write, named = ATTACKS[attack]
    path = tmp_path / "yolov8n.pt"
    path.write_bytes(CONTAINERS[container](write(marker)))

    with pytest.raises(BrokenWeightsError) as caught:
        read_torch_file(path)

    assert not marker.exists()
    assert "yolov8n.pt" in str(caught.value)
    if container != "tar":  # nobody writes those any more: they are refused as they are
        assert named in str(caught.value)
        assert "nothing in it was executed" in str(caught.value)


@pytest.mark.parametrize("container", [name for name in CONTAINERS if name != "tar"])
@pytest.mark.parametrize("gadget", PICKLES)
def test_no_gadget_runs_in_any_container(gadget: str, container: str, marker: Path, tmp_path: Path) -> None:
    path = tmp_path / "yolov8n.pt"
    path.write_bytes(CONTAINERS[container](PICKLES[gadget](marker)))

    with pytest.raises(BrokenWeightsError, match=r"it asks for [\w.]+; nothing in it was executed"):
        read_torch_file(path)

    assert not marker.exists()


def test_the_attacks_that_can_run_do_run_where_they_are_let(marker: Path) -> None:
    """Otherwise the tests above would prove nothing."""
    pickle.loads(ATTACKS["a call remembered in the memo"][0](marker))

    assert marker.exists()


def zip_with(path: Path, pickled: bytes, **records: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, data in records.items():
            archive.writestr(f"archive/data/{name.removeprefix('_')}", data)
    return path


def tensor_pickle(count: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
    storage += pickle.dumps(count, 2)[2:-1] + b"tQ"
    numbers = b"".join(pickle.dumps(part, 2)[2:-1] for part in (offset, size, stride))
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + numbers + b"\x89}tR."


def test_a_tensor_is_the_view_that_it_was(tmp_path: Path) -> None:
    path, matrix = tmp_path / "m.pt", torch.arange(12.0).reshape(3, 4)
    torch.save(matrix.t()[1:], path)

    file = read_torch_file(path)

    assert isinstance(file.content, StoredTensor)
    assert torch.equal(file.tensor(file.content), matrix.t()[1:])


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool])
def test_every_kind_of_number_is_read(tmp_path: Path, kind: torch.dtype) -> None:
    path, numbers = tmp_path / "m.pt", torch.tensor([0, 1, 5]).to(kind)
    torch.save([numbers, torch.tensor(3).to(kind), torch.empty(0, 2).to(kind)], path)

    file = read_torch_file(path)

    found = [file.tensor(stored) for stored in file.content]
    assert torch.equal(found[0], numbers)
    assert found[1].shape == ()
    assert found[2].shape == (0, 2)
    assert {tensor.dtype for tensor in found} == {kind}


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (5,), (1,)), (1, (4,), (1,)), (0, (2, 2), (3, 1)), (0, (1000, 1000), (0, 0)), (-1, (1,), (1,)), (0, (2,), ())],
)
def test_a_tensor_beyond_its_storage_is_refused(
    tmp_path: Path, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    path = zip_with(tmp_path / "m.pt", tensor_pickle(4, offset, size, stride), _0=bytes(16))

    with pytest.raises(BrokenWeightsError, match=r"could not load m\.pt: .*nothing in it was executed"):
        read_torch_file(path)


def test_a_storage_that_is_not_whole_is_named(tmp_path: Path) -> None:
    file = read_torch_file(zip_with(tmp_path / "m.pt", tensor_pickle(4, 0, (4,), (1,)), _0=bytes(12)))

    with pytest.raises(BrokenWeightsError, match="storage 0 has 12 bytes"):
        file.tensor(file.content)


def test_a_compressed_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")

    with pytest.raises(BrokenWeightsError, match="is compressed"):
        read_torch_file(path)


def test_a_tuple_nested_a_million_times_breaks_nothing(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "deep.pt", b"\x80\x02})" + b"\x85" * 1_000_000 + b"Ns.")

    with pytest.raises(BrokenWeightsError, match="something of type tuple as a key"):
        read_torch_file(path)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_containers_come_out_as_python_reads_them(protocol: int) -> None:
    from sam_model.yolo.pickle_reader import PickleReader

    content = {
        "numbers": [0, 1, -1, 255, 65_535, 65_536, 2**31, -(2**70), 1.5, float("inf")],
        "texts": ["", "ä", "x" * 300, b"bytes", b"y" * 300, bytearray(b"z")],
        "nested": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [[]], {}, {"a": {1: None}}, True, False),
        "sets": [{"a"}, set(), frozenset({"b"})],
    }
    if protocol < 5:  # older protocols call names for these
        content["sets"] = []
        content["texts"] = ["", "ä", "x" * 300]
    shared = ["once"]
    content["shared"] = [shared, shared]

    def outside(identity: object) -> object:
        raise AssertionError(identity)

    found = PickleReader((), {}, outside).read(io.BytesIO(pickle.dumps(content, protocol)))

    assert found == content
    assert found["shared"][0] is found["shared"][1]
    assert re.fullmatch("ä", found["texts"][1])
