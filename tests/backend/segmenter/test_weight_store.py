from pathlib import Path

from sam_backend.segmenter.weight_store import weight_store
from sam_backend.settings import Settings


def test_the_store_has_the_folder_the_mirror_and_the_network_rule_of_the_settings() -> None:
    environ = {"SAM_WEIGHTS_DIR": "/srv/weights", "SAM_WEIGHTS_MIRROR": "https://mirror/sam", "SAM_OFFLINE": "yes"}

    store = weight_store(Settings.from_env(environ))

    assert (store.directory, store.mirror, store.is_offline) == (Path("/srv/weights"), "https://mirror/sam", True)
