"""IP addresses, host names and base URLs."""
