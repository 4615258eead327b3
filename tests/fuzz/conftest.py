"""Number of examples: 100 per test, 20,000 with `--hypothesis-profile=fuzz` (`make fuzz`)."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fuzz", max_examples=20_000, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck)
)
