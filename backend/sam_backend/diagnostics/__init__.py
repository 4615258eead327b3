"""What is missing, and how to fix it."""
