"""Segmentation and detection without weights.

An image becomes superpixels (SLIC) and their graph. From a point or a box, a few hundred hypotheses are grown by
colour, path and distance; each is a set of superpixels. Hand-set weights rate how plausible each is as an object. The
result is the hypothesis with the largest expected IoU over all of them, and a further point corrects it in the same
way. GrabCut in a narrow band and a guided filter then find the exact outline at the size of the original image.
"""
