"""Exit codes, error messages and JSON are the same for all subcommands."""

import errno
import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from sam_backend.commands import doctor
from sam_backend.commands.main import main
from sam_backend.commands.result import CommandFailedError, CommandResult
from sam_backend.errors import BadRequestError, LabelStudioForbiddenError, ModelNotReadyError
from sam_backend.label_studio.client import LabelStudioApiError
from sam_backend.settings import SettingsError
from sam_model.weights.errors import BrokenWeightsError, WeightsUnavailableError


def raises(error: BaseException) -> Callable[[object], CommandResult]:
    def run(_: object) -> CommandResult:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("SAM_DTYPE='int3' is not one of float32"), 2),
        (ValueError("no prompt"), 2),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.jpg"), 2),
        (BrokenWeightsError("model.pt is not a checkpoint"), 2),
        (BadRequestError("a field is missing"), 2),
        (OSError(errno.ENOSPC, "No space left on device"), 1),
        (WeightsUnavailableError("mobile_sam.pt is missing"), 1),
        (ModelNotReadyError("still loading"), 1),
        (LabelStudioForbiddenError("the token is refused"), 1),
        (LabelStudioApiError("GET /api/projects/ answered 500", 500), 1),
        (CommandFailedError("cannot listen"), 1),
        (ZeroDivisionError("a defect"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_is_one_line_on_standard_error_and_an_exit_code(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "run", raises(error))

    assert main(["doctor", "--json"]) == code

    said, errors = capsys.readouterr()
    assert said == ""
    assert errors.startswith("label-studio-sam: ")
    assert errors.count("\n") == 1
    assert str(error) in errors


def test_an_interruption_is_130_and_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "run", raises(KeyboardInterrupt()))

    assert main(["doctor"]) == 130

    assert capsys.readouterr() == ("", "")


def test_an_unexpected_error_names_the_place_where_it_was_raised(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "run", raises(ZeroDivisionError("a defect")))

    main(["doctor"])

    assert "unexpected error: ZeroDivisionError: a defect (test_main.py:" in capsys.readouterr().err


def test_a_result_is_text_or_json_and_its_warnings_go_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = CommandResult({"masks": 3}, "3 masks", ("one image failed",), exit_code=1)
    monkeypatch.setattr(doctor, "run", lambda _: result)

    assert main(["doctor"]) == 1
    assert capsys.readouterr() == ("3 masks\n", "label-studio-sam: one image failed\n")

    assert main(["doctor", "--json"]) == 1
    said, errors = capsys.readouterr()
    assert (json.loads(said), errors) == ({"masks": 3}, "label-studio-sam: one image failed\n")


def test_a_service_starts_without_large_packages() -> None:
    """Each costs the start a second; the model's thread or the first use imports what is needed."""
    program = (
        "import sys, sam_backend.commands.serve, sam_backend.service.service, sam_backend.web.gunicorn_server\n"
        "print([name for name in ('torch', 'scipy', 'numba', 'openvino', 'ray') if name in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
