"""What is kept of each image that a source has looked at, and what follows from it for a set."""

from __future__ import annotations

import hashlib

import numpy as np

from components.example_gen.encoded import ImageFacts

# `digest` is the SHA-256 of the file; sizes and `plain` are as in `encoded.ImageFacts`.
SEEN = np.dtype(
    [
        ("digest", np.uint8, 32),
        ("num_bytes", np.int64),
        ("height", np.int32),
        ("width", np.int32),
        ("is_colour", np.bool_),
        ("plain", np.int8),
        ("state", np.int8),
    ]
)
WHOLE, BROKEN, NO_IMAGE = range(3)


def seen_of(content: bytes, facts: ImageFacts) -> tuple[object, ...]:
    """Returns the SEEN of an image that can be used, as the tuple that NumPy takes for one."""
    digest = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
    return digest, len(content), *facts, WHOLE


def falls_on_test(digests: np.ndarray, fraction: float) -> np.ndarray:
    """Tells by their SHA-256, [N, 32] uint8, which images fall on the side of `test`: [N] bool.

    Each image falls by itself, so that it stays on its side whatever is added or removed, and equal
    files are on one side. The share is the fraction in expectation only, in each class too.
    """
    heads = np.ascontiguousarray(digests[:, :8]).view(">u8").ravel()
    return np.asarray(heads < np.uint64(int(fraction * 2**64)))
