"""Detectors beside YOLO and the classical one: ONNX files, text detectors, selection of classes."""
