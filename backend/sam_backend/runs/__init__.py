"""Durable, resumable work over many tasks."""
