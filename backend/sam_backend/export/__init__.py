"""Annotations and predictions as files: data sets for training, and tasks for import."""
