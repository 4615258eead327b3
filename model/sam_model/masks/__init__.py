"""Masks and boxes: geometry, cleaning, stability, edges, polygons, run lengths, drawing."""
