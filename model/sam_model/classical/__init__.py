"""Segmentation without weights: superpixels, evidence from all prompts, one narrow GrabCut."""
