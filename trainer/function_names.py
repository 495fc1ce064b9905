"""Names of TensorFlow's functions that do not depend on what the process has done before.

TensorFlow numbers functions and tensors by one counter. A component that was taken from the cache,
or a training that was resumed, makes fewer of them, and so would give the functions of a graph that
is saved afterwards other names. The same weights in other files would be another model: not the one
that was withdrawn, for example.
"""

from __future__ import annotations

from tensorflow.python.framework.ops import uid  # no public function is as fast

# Counting to a million takes 0.3 s. A whole run takes some ten thousand numbers, a training too.
OF_TRANSFORM = (1 << 18,)
OF_EXPORT = (1 << 20, 1 << 23)


def number_from(firsts: tuple[int, ...]) -> None:
    """Counts on to the first of these rising numbers that is ahead; beyond all, names stay open."""
    number = uid()
    first = next((first for first in firsts if number <= first), number)
    while number < first:
        number = uid()
