"""The TFX component that searches for hyper-parameters, and the picture of its trials."""
