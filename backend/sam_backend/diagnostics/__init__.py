"""Checks of the model, Label Studio and folders, each with a fix."""
