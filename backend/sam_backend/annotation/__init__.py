"""What an annotation run of `sam_model.annotation` writes for Label Studio."""
