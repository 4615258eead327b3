"""The Python interface of Ultralytics' SAM page: SAM, SAMPredictor, YOLO, FastSAM, Results, auto_annotate."""
