"""Files, texts, processes and signals for all other packages, by the standard library only."""
