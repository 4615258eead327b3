"""SAM base, large, huge and MobileSAM: the networks of the papers and the segmenter around them."""
