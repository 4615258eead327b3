"""Decode image files to RGB uint8 (H, W, 3), upright and in sRGB, for server, runs, command line and scripts."""
