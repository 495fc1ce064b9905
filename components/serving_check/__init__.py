"""Proves, before a release, that a fresh server process can serve the exported model.

`serving_check` is the TFX component. `verdict` says what is the model's fault, by the `questions`
about `asked_images` that it puts to a server of `servers`; `contract` says what an answer must be.
`prediction` classifies image files with a model that was released.
"""
