"""Proves, before a release, that a fresh server process can serve the exported model.

`serving_check` is the TFX component, and `verdict` tells the model's faults from the machine's.
"""
