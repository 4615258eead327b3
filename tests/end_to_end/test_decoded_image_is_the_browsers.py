"""Each kind of image, drawn by Chromium and decoded here: equal pixels and orientation."""

import base64
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page

from sam_model.images.decode import decode_image
from sam_testing.image_files import IMAGES_A_BROWSER_SHOWS

pytestmark = pytest.mark.end_to_end

DRAW = """async (source) => {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext('2d');
  context.fillStyle = 'white';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return {width: canvas.width, height: canvas.height, pixels: Array.from(pixels)};
}"""


@pytest.fixture(scope="module")
def page(browser: Browser, chromium_path: str) -> Iterator[Page]:
    """Open a page in a Chromium with an sRGB screen."""
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"]
    with browser.browser_type.launch(executable_path=chromium_path, args=arguments) as own, own.new_page() as page:
        yield page


def drawn(page: Page, data: bytes) -> NDArray[np.uint8]:
    answer = page.evaluate(DRAW, f"data:image/any;base64,{base64.b64encode(data).decode()}")
    return np.array(answer["pixels"], np.uint8).reshape(answer["height"], answer["width"], 4)[..., :3]


@pytest.mark.parametrize("name", IMAGES_A_BROWSER_SHOWS)
def test_the_decoded_image_is_the_one_that_chromium_draws(page: Page, name: str) -> None:
    tolerance, write = IMAGES_A_BROWSER_SHOWS[name]
    data = write()

    decoded, browsers = decode_image(data), drawn(page, data)

    assert decoded.shape == browsers.shape
    assert np.abs(decoded.astype(int) - browsers).max() <= tolerance
