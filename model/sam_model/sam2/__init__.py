"""Segment Anything 2 on images (SAM 2 and SAM 2.1): networks."""
