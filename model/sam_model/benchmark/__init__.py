"""Benchmark of the catalogue's models: size, and speed on this machine."""
