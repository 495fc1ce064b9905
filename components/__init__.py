"""Custom TFX components: the logic in plain functions, the TFX shell below them."""
