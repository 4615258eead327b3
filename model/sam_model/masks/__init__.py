"""Masks and boxes: geometry, cleaning, stability, polygons, run lengths, drawing."""
