"""YOLOv8 and FastSAM: networks, reading of Ultralytics files without running them, detections, masks."""
