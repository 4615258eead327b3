"""Maximum size of request bodies, by path."""

from sam_backend.settings import MIB, Settings

SMALL_BODY_BYTES = 256 * 1024
# a click sends its task with all masks; the webhook of an import sends all imported tasks
LARGE_BODY_PATHS = frozenset({"/predict", "/webhook"})


def body_limit(path: str, settings: Settings) -> int:
    """Return the maximum body of a request to `path`, in bytes."""
    return settings.max_body_mib * MIB if path in LARGE_BODY_PATHS else SMALL_BODY_BYTES
