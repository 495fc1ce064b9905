"""A model's predictions of the test split, counted by TFMA or from a SavedModel, and their gate."""
