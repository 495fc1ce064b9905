"""Where a pipeline runs: one module per place."""
