"""The segmenter: chosen and loaded."""
