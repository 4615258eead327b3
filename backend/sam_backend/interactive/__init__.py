"""Prompts of a user become masks."""
