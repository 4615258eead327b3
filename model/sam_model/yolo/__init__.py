"""YOLOv8 and FastSAM: networks, detector, segmenter, and reading of Ultralytics' files."""
