"""A click as HumanSignal's example backend answers it: MobileSAM's `SamPredictor`, and the converter's `mask2rle`.

The steps are those of label-studio-ml-backend's segment_anything_model example with MobileSAM: the image of the last
click stays in the predictor, any other one is read with OpenCV and embedded. Python's own HTTP server answers.

    .venv-parity/bin/python tests/benchmarks/published_backend.py CHECKPOINT BRUSH_PY PORT

Source: sam_predictor.py and model.py @ 010cc2a, Apache-2.0, described, not copied.
"""

import importlib.util
import json
import sys
import warnings
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import cv2
import numpy as np


def click_function(checkpoint: str, brush_py: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function that answers the JSON of a click."""
    warnings.simplefilter("ignore")
    from mobile_sam import SamPredictor, sam_model_registry

    spec = importlib.util.spec_from_file_location("brush", brush_py)
    assert spec is not None
    assert spec.loader is not None
    brush = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(brush)
    predictor = SamPredictor(sam_model_registry["vit_t"](checkpoint=checkpoint).eval())
    last = ""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        nonlocal last
        (prompt,) = request["params"]["context"]["result"]
        width, height = prompt["original_width"], prompt["original_height"]
        path = request["tasks"][0]["data"]["image"]
        if path != last:
            predictor.set_image(cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB))
            last = path
        at = [int(prompt["value"]["x"] * width / 100), int(prompt["value"]["y"] * height / 100)]
        masks, scores, _ = predictor.predict(
            point_coords=np.array([at], np.float32), point_labels=np.array([1.0], np.float32), multimask_output=False
        )
        rle = brush.mask2rle(masks[0].astype(np.uint8) * 255)
        value = {"format": "rle", "rle": rle, "brushlabels": ["face"]}
        return {
            "results": [{"result": [{"id": "1", "type": "brushlabels", "value": value, "score": float(scores[0])}]}]
        }

    return answer


def main(checkpoint: str, brush_py: str, port: str) -> None:
    """Answer clicks until the process is ended."""
    answer = click_function(checkpoint, brush_py)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(answer(request)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
