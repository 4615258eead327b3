"""Objects like annotated ones: examples from a project's annotations, and the index of what its images hold."""
