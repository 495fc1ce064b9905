"""The runners: one module per place where a pipeline runs."""
