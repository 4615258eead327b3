"""Runs over HTTP: start, watch, pause, cancel, resume, retry, undo; see "Runs over HTTP" in the README."""
