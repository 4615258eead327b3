"""Segmentation and detection without downloads.

An image becomes superpixels (SLIC) and their graph. From a point or a box, a few hundred hypotheses are grown by
colour, path and distance; hand-set weights rate how plausible each is as an object, and their mean is the first guess.
A small graph network and a graph cut correct the guess; the network corrects it again after each click. Where sharp
edges separate a click's region from uniform surroundings, that region is the answer without the network. A guided
filter then finds the exact outline at the size of the original image.
"""
