"""The HTTP server: Flask application, gunicorn worker, web page."""
