"""Content hashes, digests and the cut of eval, none of which depends on files or their order.

image_hashes, example_hashes = hash_examples(images, labels)     # [N, 32] uint8 each
digest_of(example_hashes)                                        # of a split, hexadecimal
eval_rows(labels, example_hashes)                                # rows of train that go to eval
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

HASH_BYTES = 32
MAX_EVAL_ROWS = 5000
MIN_TRAIN_PER_EVAL = 8

Hashes = npt.NDArray[np.uint8]  # [N, 32]


def hash_examples(images: np.ndarray, labels: np.ndarray) -> tuple[Hashes, Hashes]:
    """Returns the SHA-256 of each image and of each labelled image, independent of the PNG encoder.

    Args:
      images: [N, H, W, C] uint8.
      labels: [N] int64.

    Returns:
      Hashes of the images: over height, width and channels as little-endian int64, then the
      pixels; and of the examples: the same after the label as little-endian int64. [N, 32] each.
    """
    shape = np.asarray(images.shape[1:], "<i8").tobytes()
    label_bytes = labels.astype("<i8").tobytes()
    sha256 = hashlib.sha256
    of_images, of_examples = [], []
    for row, image in enumerate(images):
        content = shape + image.tobytes()
        of_images.append(sha256(content).digest())
        of_examples.append(sha256(label_bytes[8 * row : 8 * row + 8] + content).digest())
    return _as_rows(of_images), _as_rows(of_examples)


def _as_rows(digests: Sequence[bytes]) -> Hashes:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, HASH_BYTES)


def digest_of(example_hashes: Hashes) -> str:
    """Returns the digest of a set of examples: SHA-256 over their sorted hashes, hexadecimal."""
    return hashlib.sha256(b"".join(sorted(keys_of(example_hashes)))).hexdigest()


def keys_of(hashes: Hashes) -> list[bytes]:
    """Returns [N, 32] bytes as N values that sort and compare."""
    content = hashes.tobytes()
    return [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]


def eval_size(train_rows: int) -> int:
    """Returns how many rows of the source's training split become `eval`."""
    return min(MAX_EVAL_ROWS, train_rows // MIN_TRAIN_PER_EVAL)


def eval_quotas(class_counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns how many rows of each class become `eval`: proportional, by the largest remainder.

    Ties go to the lower label. The sum is `eval_size` of the whole.
    """
    total = int(class_counts.sum())
    size = eval_size(total)
    if not size:
        return np.zeros_like(class_counts)
    quotas = class_counts * size // total
    remainders = class_counts * size % total
    left = size - int(quotas.sum())
    quotas[np.argsort(-remainders, kind="stable")[:left]] += 1
    return quotas


def eval_rows(labels: np.ndarray, example_hashes: Hashes) -> npt.NDArray[np.int64]:
    """Returns the rows that become `eval`, ascending: of each class those with the smallest hashes.

    The choice does not depend on the order and the shards in which the rows come.
    """
    quotas = eval_quotas(np.bincount(labels))
    # As text of fixed width: numpy compares such values byte by byte.
    order = np.lexsort(
        (np.ascontiguousarray(example_hashes).view(f"S{HASH_BYTES}").ravel(), labels)
    )
    chosen, start = [], 0
    for label, count in enumerate(np.bincount(labels)):
        chosen.append(order[start : start + quotas[label]])
        start += count
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)
