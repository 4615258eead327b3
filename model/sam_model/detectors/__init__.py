"""Detectors beside YOLO and the classical ones: ONNX files, detectors that are asked by words."""
