"""Whether the images that a model is asked about are still like those on which it was released.

`summary` counts what a release records of its test split, and the same of requests; `drift`
compares two summaries.
"""
