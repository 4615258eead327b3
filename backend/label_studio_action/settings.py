"""Label Studio's Django settings with this app added. Source: label-studio 1.23.2, server.py and core/settings."""

from label_studio.core.settings.base import *  # first: the second module builds on it
from label_studio.core.settings.label_studio import *

INSTALLED_APPS += ["label_studio_action"]
if HOSTNAME.startswith("https://"):  # a proxy ends TLS, so Django does not see the browser's address
    CSRF_TRUSTED_ORIGINS = [*CSRF_TRUSTED_ORIGINS, "/".join(HOSTNAME.split("/")[:3])]
