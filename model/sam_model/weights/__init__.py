"""Weights: which files there are, where they lie, how they come here, how they are read without running anything."""
