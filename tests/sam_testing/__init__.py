"""Parts that several tests share, such as a fast segmenter and requests as Label Studio sends them."""
