"""Devices and precisions of the networks."""
