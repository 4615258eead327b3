"""Embeddings, computed once per image."""
