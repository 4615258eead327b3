from pathlib import Path

import pytest

from sam_model.runtime import choice
from sam_model.runtime.choice import Runtime, choose_runtime, multiplies_in_bfloat16


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An x86 processor with OpenVINO, whatever runs the tests."""
    monkeypatch.setattr(choice.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(choice, "multiplies_in_bfloat16", lambda max_isa: max_isa != "AVX2")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("auto", "cpu", "auto"), "openvino-bfloat16"),
        (("auto", "cpu", "float32"), "openvino-float32"),
        (("auto", "cpu", "float16"), "float16"),
        (("torch", "cpu", "auto"), "float32"),
        (("torch", "cpu", "bfloat16"), "bfloat16"),
        (("openvino", "cpu", "auto"), "openvino-bfloat16"),
    ],
)
def test_auto_is_openvino_on_an_x86_processor(asked: tuple[str, str, str], expected: str) -> None:
    assert str(choose_runtime(*asked)) == expected


@pytest.mark.usefixtures("processor")
def test_a_limit_of_the_instruction_set_changes_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")

    assert choose_runtime("auto", "cpu") == Runtime("openvino", "cpu", "float32")


@pytest.mark.usefixtures("processor")
def test_without_openvino_everything_works_in_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)

    assert choose_runtime("auto", "cpu") == Runtime("torch", "cpu", "float32")
    with pytest.raises(ValueError, match=r"runtime 'openvino' is not available: .*install label-studio-sam\[cpu\]"):
        choose_runtime("openvino", "cpu")


@pytest.mark.usefixtures("processor")
def test_an_arm_processor_gets_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice.platform, "machine", lambda: "aarch64")

    assert choose_runtime("auto", "cpu").name == "torch"


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (("tensorflow", "cpu", "auto"), "unknown runtime 'tensorflow'; known: auto, torch, openvino"),
        (("auto", "abacus", "auto"), "unknown device 'abacus'"),
        (("auto", "cpu", "float8"), "unknown dtype 'float8'"),
        (("openvino", "cpu", "float16"), "no dtype 'float16'"),
    ],
)
def test_unknown_names_are_refused(asked: tuple[str, str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        choose_runtime(*asked)


@pytest.mark.parametrize(
    ("flags", "max_isa", "expected"),
    [
        ("fpu avx512_bf16", "", True),
        ("fpu amx_bf16 amx_tile", "", True),
        ("fpu amx_bf16", "AVX512_CORE_AMX", True),
        ("fpu amx_bf16", "AVX512_CORE", False),
        ("fpu amx_bf16", "avx2", False),
        ("fpu avx2", "", False),
    ],
)
def test_bfloat16_needs_its_instructions(flags: str, max_isa: str, expected: bool, tmp_path: Path) -> None:
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t:\n")

    assert multiplies_in_bfloat16(max_isa, cpu_info) is expected


def test_a_system_without_cpuinfo_has_no_bfloat16(tmp_path: Path) -> None:
    assert not multiplies_in_bfloat16("", tmp_path / "missing")
