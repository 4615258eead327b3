"""One task becomes one prediction."""
