"""TFX's shell around the search for hyper-parameters, and the picture of its trials."""
