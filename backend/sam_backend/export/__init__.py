"""Predictions as files for import."""
