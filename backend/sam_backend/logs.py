"""How the log looks: one line per event, on standard error."""

import logging


def configure_logs(level: str) -> None:
    """Send our log to standard error, from `level` (DEBUG, INFO, WARNING, ERROR) on."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    logging.getLogger("PIL").setLevel(logging.WARNING)
