"""The container's healthcheck: GET /health, with the basic auth that the service itself asks for."""

import base64
import os
import sys
from urllib.request import Request, urlopen

request = Request(os.environ.get("SAM_HEALTH_URL", "http://127.0.0.1:9090/health"))
user, password = os.environ.get("SAM_BASIC_AUTH_USER"), os.environ.get("SAM_BASIC_AUTH_PASSWORD")
if user and password:
    request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
try:
    urlopen(request, timeout=2).close()
except OSError as error:
    sys.exit(f"unhealthy: {error}")
