"""Programs that the tests start can import `sam_testing`; all tests share the networks converted for OpenVINO."""

import os
from pathlib import Path

TESTS = str(Path(__file__).parent)
os.environ["PYTHONPATH"] = os.pathsep.join([TESTS, *filter(None, [os.environ.get("PYTHONPATH")])])
os.environ["SAM_CONVERTED_DIR"] = str(Path(TESTS).parent / ".pytest_cache" / "converted")
