"""A Django app for Label Studio: the Data Manager action "Pre-annotate with SAM…".

Two environment variables of Label Studio enable it; PYTHONPATH names the folder that holds this package:

    PYTHONPATH=/path/to/folder DJANGO_SETTINGS_MODULE=label_studio_action.settings label-studio start

It needs only Label Studio and the standard library.
"""
