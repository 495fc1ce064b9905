"""The pipeline: what runs, and where it runs."""
