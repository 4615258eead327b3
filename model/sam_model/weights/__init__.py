"""Weights: catalogue, download, storage, and reading without executing anything in the files."""
