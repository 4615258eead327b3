"""A small Django app that runs inside Label Studio: "Pre-annotate with SAM…" in the Data Manager's actions.

Switched on by the environment that Label Studio starts with, the first naming the folder that holds this package:

    PYTHONPATH=/path/to/folder DJANGO_SETTINGS_MODULE=label_studio_action.settings label-studio start

It uses nothing but Label Studio itself and the standard library.
"""
