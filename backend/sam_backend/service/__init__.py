"""The running service: its parts, built from the settings."""
