"""Where and in which precision the networks run."""
