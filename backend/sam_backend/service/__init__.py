"""The running service, put together from its settings."""
