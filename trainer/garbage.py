"""Python's search for cyclic garbage, less often than by default.

Importing TensorFlow, TFX and Beam makes more than a million objects, all of which stay. Python's
defaults search them again and again while they come, and once more when the process ends
(docs/decisions/0014).
"""

from __future__ import annotations

import atexit
import functools
import gc

ALLOCATIONS = 50_000  # container objects made since the last search of the youngest; Python: 700


@functools.cache
def collect_seldom() -> None:
    """For the rest of this process; to be called before the large imports."""
    gc.set_threshold(ALLOCATIONS)
    # The end has its own search, which passes over what is frozen. The system frees the memory.
    atexit.register(gc.freeze)
