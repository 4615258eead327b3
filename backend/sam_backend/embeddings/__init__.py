"""Embeddings: each image is computed once, for clicks and runs, and kept in memory and on disk."""
