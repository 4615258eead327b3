"""How good a run's predictions were, measured by the annotations that people submitted."""
