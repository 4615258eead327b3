"""Programs that the tests start can import `sam_testing`."""

import os
from pathlib import Path

TESTS = str(Path(__file__).parent)
os.environ["PYTHONPATH"] = os.pathsep.join([TESTS, *filter(None, [os.environ.get("PYTHONPATH")])])
