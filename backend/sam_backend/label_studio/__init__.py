"""Label Studio's API: URL and token, HTTP client, projects, tasks, predictions, registration."""
