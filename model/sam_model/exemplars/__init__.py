"""Objects like given examples: proposals of an image, a descriptor of each, and their similarity to the examples."""
