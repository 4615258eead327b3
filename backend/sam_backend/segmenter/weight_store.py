"""The folder of weights that the settings describe."""

import urllib.request

from sam_backend.settings import Settings
from sam_model.weights.store import WeightStore


def weight_store(settings: Settings) -> WeightStore:
    """Return the store of weights of `settings`; HTTP_PROXY, HTTPS_PROXY and NO_PROXY have their usual meaning."""
    return WeightStore(
        directory=settings.weights_dir,
        mirror=settings.weights_mirror,
        is_offline=settings.offline,
        proxies=urllib.request.getproxies(),
        hugging_face_token=settings.hugging_face_token or "",
        converted_directory=settings.converted_dir,
    )
