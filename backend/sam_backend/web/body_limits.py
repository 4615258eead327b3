"""How large a request's body may be: a task carries all its regions, everything else is small."""

from sam_backend.settings import MIB, Settings

SMALL_BODY_BYTES = 256 * 1024
# a click sends its task with every mask in it; the webhook of an import sends all imported tasks
LARGE_BODY_PATHS = frozenset({"/predict", "/webhook"})


def body_limit(path: str, settings: Settings) -> int:
    """Return how many bytes the body of a request to `path` may have."""
    return settings.max_body_mib * MIB if path in LARGE_BODY_PATHS else SMALL_BODY_BYTES
