import pytest

from sam_model.masks import upscaling


@pytest.fixture(params=["numpy", "compiled"])
def loops_of_upscaling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with NumPy and with the compiled loops."""
    if request.param == "compiled" and upscaling.loops.wait() is None:
        pytest.skip("Numba is not installed (extra [cpu])")
    if request.param == "numpy":
        monkeypatch.setattr(upscaling.loops, "wait", lambda: None)
