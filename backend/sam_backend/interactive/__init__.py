"""A person's prompts become masks."""
