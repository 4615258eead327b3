"""Programs that the tests start can import `sam_testing`, and run networks as exactly as the tests expect."""

import os
from pathlib import Path

TESTS = str(Path(__file__).parent)
os.environ["PYTHONPATH"] = os.pathsep.join([TESTS, *filter(None, [os.environ.get("PYTHONPATH")])])
os.environ.setdefault("SAM_RUNTIME", "torch")  # converting a network for OpenVINO takes seconds
