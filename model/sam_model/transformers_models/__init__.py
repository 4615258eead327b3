"""Models of Hugging Face's library transformers (extra `[transformers]`), as segmenters and text detectors.

This is the only package that imports transformers.
"""
