"""Clicks on small objects see a crop, whose embedding is cached."""

import numpy as np

from sam_backend.settings import Settings
from sam_backend.shapes.brush_rle import decode_mask
from sam_testing.label_studio import key_point, predict_request
from sam_testing.service import SamService, png_image

WIDTH, HEIGHT = 1000, 800  # a disc of the test segmenter has 10 pixels
SIZE = {"original_width": WIDTH, "original_height": HEIGHT}


def service_with_large_image(settings: Settings | None = None) -> SamService:
    service = SamService(settings)
    service.fake_fetcher.images["/data/upload/1/image.png"] = png_image(WIDTH, HEIGHT)
    return service


def test_a_click_on_a_small_object_embeds_a_crop_once_and_later_clicks_near_it_nothing() -> None:
    service = service_with_large_image()

    first = service.predict(predict_request([key_point(50.1, 50.2, **SIZE)]))
    fetched = list(service.fake_fetcher.asked)
    service.predict(predict_request([key_point(50.3, 50.3, "p2", **SIZE)]))

    whole, crop = service.segmenter.images
    assert whole.shape == (HEIGHT, WIDTH, 3)
    assert crop.shape == (128, 128, 3)
    assert np.array_equal(crop, whole[352:480, 448:576])
    (region,) = first["result"]
    mask = decode_mask(region["value"]["rle"], HEIGHT, WIDTH)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    assert np.array_equal(mask, np.hypot(columns - 501, rows - 401.6) <= 5)
    assert fetched == service.fake_fetcher.asked[: len(fetched)]
    assert len(fetched) == 1


def test_three_small_objects_of_one_request_use_two_crops() -> None:
    service = service_with_large_image()
    points = [key_point(x, 50, f"p{x}", label=label, **SIZE) for x, label in ((10, "Cat"), (50, "Dog"), (90, "Bird"))]

    answer = service.predict(predict_request(points))

    assert len(answer["result"]) == 3
    assert len(service.segmenter.images) == 3  # the image and two crops


def test_the_setting_switches_crops_off() -> None:
    service = service_with_large_image(Settings(zoom=False))

    service.predict(predict_request([key_point(50, 50, **SIZE)]))

    assert len(service.segmenter.images) == 1
