"""Segment Anything (SAM 1 and MobileSAM): networks, segmenter, automatic masks."""
