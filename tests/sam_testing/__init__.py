"""What several tests share: a segmenter that costs nothing, requests as Label Studio sends them."""
