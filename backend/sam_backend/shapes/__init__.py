"""Masks -> values of regions, one file per control tag of Label Studio."""
