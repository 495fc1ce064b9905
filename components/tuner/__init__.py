"""TFX's shell around the search for hyper-parameters, its results and their picture."""
