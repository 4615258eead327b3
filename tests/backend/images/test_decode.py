import pytest

from sam_backend import errors
from sam_backend.images.decode import decode_image
from sam_model.images.budget import MemoryBudget
from sam_testing.image_files import colours, saved

IMAGE = saved(colours(), "PNG")


def test_an_image_with_too_many_pixels_is_too_large() -> None:
    with pytest.raises(errors.ImageTooLargeError, match="more than the limit of 599") as refused:
        decode_image(IMAGE, max_pixels=599)

    assert refused.value.status == 413


def test_bytes_that_are_no_image_are_a_broken_image() -> None:
    with pytest.raises(errors.BrokenImageError) as refused:
        decode_image(IMAGE[:100])

    assert refused.value.status == 422


def test_a_decoder_without_free_memory_asks_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = MemoryBudget(20 * 30 * 8, wait_s=0.01)
    monkeypatch.setattr("sam_model.images.decode.DECODING_MEMORY", budget)

    with budget.reserve(1), pytest.raises(errors.DecoderBusyError, match="try again later") as refused:
        decode_image(IMAGE)

    assert refused.value.status == 503
