"""Pre-annotation of many tasks: durable runs that a detector and a segmenter do without a person."""
