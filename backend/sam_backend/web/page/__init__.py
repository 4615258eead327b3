"""The backend's web page: templates, style and script, without a build step."""
