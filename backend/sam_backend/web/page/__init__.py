"""The web page: template, style and script, without a build step."""
