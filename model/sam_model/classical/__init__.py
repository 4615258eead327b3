"""Segmentation without weights.

An image becomes superpixels (SLIC) and their graph. A click or a box raises a few hundred hypotheses, sets of
superpixels grown by colour, path and distance. Each is rated as an object by a few hand-set weights, and the one with
the greatest expected IoU over all of them is the answer; the next click corrects it in the same way. GrabCut in a
narrow band and a guided filter then find the exact outline at the size of the original image.
"""
