"""Content hashes of examples, and the digests and the eval split that follow from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

HASH_BYTES = 32
GRID = 4  # an image has GRID * GRID regions
_PIXELS_AT_ONCE = 1 << 20
MAX_EVAL_ROWS = 5000
MIN_TRAIN_PER_EVAL = 8

Hashes = npt.NDArray[np.uint8]  # [N, 32]

# What is kept of each example for the plan.
FACTS = np.dtype(
    [
        ("label", np.int64),
        ("image_hash", np.uint8, HASH_BYTES),
        ("example_hash", np.uint8, HASH_BYTES),
        ("pixel_sum", np.int64),
        ("regions", np.uint8, GRID * GRID),
        ("contrast", np.uint8),
        ("height", np.int32),
        ("width", np.int32),
        ("grey", np.bool_),
        ("file_hash", np.uint8, HASH_BYTES),
    ]
)


def hash_images(images: np.ndarray) -> Hashes:
    """Hashes images, [N, H, W, C] uint8: SHA-256 over height, width and channels as little-endian
    int64, then the pixels.
    """
    return _hash(images, [b""] * len(images))


def hash_examples(images: np.ndarray, labels: np.ndarray) -> Hashes:
    """Hashes images with their labels, [N] int64: SHA-256 over the label as little-endian int64,
    then what `hash_images` covers.
    """
    return _hash(images, [label.tobytes() for label in labels.astype("<i8")])


def _hash(images: np.ndarray, before: Sequence[bytes]) -> Hashes:
    shape = np.asarray(images.shape[1:], "<i8").tobytes()
    digests = [
        hashlib.sha256(first + shape + image.tobytes()).digest()
        for first, image in zip(before, images, strict=True)
    ]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, HASH_BYTES)


def image_names(images: np.ndarray) -> list[str]:
    """Returns the hash of each of [N, H, W, C] uint8, hexadecimal, by which people name it."""
    return [key.hex() for key in keys_of(hash_images(images))]


def sums_of(pixels: np.ndarray) -> np.ndarray:
    """Sums [n, H, W, C] uint8 over all pixels and channels: [n] int64."""
    return pixels.reshape(len(pixels), -1).sum(axis=1, dtype=np.int64)


def region_means(pixels: np.ndarray) -> npt.NDArray[np.uint8]:
    """Returns the mean pixel of each region of [n, H, W, C] uint8, row by row: [n, 16] uint8.

    The regions are those of a grid of 4 x 4. Of an image with less than four rows or columns some
    are empty: 0.
    """
    height, width, channels = pixels.shape[1:]
    places = (np.arange(height) * GRID // height)[:, np.newaxis] * GRID
    places = places + np.arange(width) * GRID // width
    inside = np.repeat(places.ravel(), channels)[:, np.newaxis] == np.arange(GRID * GRID)
    # A matrix product is the fastest of sums, and exact in float64; some images at a time, since
    # that takes eight bytes a pixel.
    flat = pixels.reshape(len(pixels), -1)
    at_once = max(1, _PIXELS_AT_ONCE // flat.shape[1])
    parts = [flat[at : at + at_once] @ inside.astype(float) for at in range(0, len(flat), at_once)]
    return (np.concatenate(parts) // np.maximum(inside.sum(axis=0), 1)).astype(np.uint8)


def contrasts_of(pixels: np.ndarray) -> npt.NDArray[np.uint8]:
    """Returns twice the standard deviation of the pixels of each of [n, H, W, C] uint8: [n] uint8.

    It is 255 if half of the pixels are black and half are white.
    """
    flat = pixels.reshape(len(pixels), -1)
    squares = np.einsum("ij,ij->i", flat, flat, dtype=np.int64)
    variances = (flat.shape[1] * squares - sums_of(pixels) ** 2) / flat.shape[1] ** 2
    return (2 * np.sqrt(variances)).astype(np.uint8)


def are_grey(pixels: np.ndarray) -> npt.NDArray[np.bool_]:
    """Tells which of [n, H, W, C] uint8 have equal channels everywhere: [n] bool."""
    return np.asarray((pixels == pixels[..., :1]).all(axis=(1, 2, 3)))


def facts_of(
    pixels: np.ndarray,
    labels: np.ndarray,
    stored: np.ndarray | None = None,
    file_hashes: Hashes | None = None,
) -> np.ndarray:
    """Returns the [n] FACTS of images [n, H, W, C] uint8 and labels [n] int64.

    Args:
      stored: [n, 3] int64, their heights, widths and channels as stored, if they differ.
      file_hashes: see `SourceRows`.
    """
    facts = np.empty(len(labels), FACTS)
    shapes = np.broadcast_to(pixels.shape[1:], (len(labels), 3)) if stored is None else stored
    facts["height"], facts["width"] = shapes[:, 0], shapes[:, 1]
    facts["grey"] = are_grey(pixels)
    facts["label"], facts["pixel_sum"] = labels, sums_of(pixels)
    facts["regions"], facts["contrast"] = region_means(pixels), contrasts_of(pixels)
    facts["image_hash"] = hash_images(pixels)
    facts["example_hash"] = hash_examples(pixels, labels)
    facts["file_hash"] = 0 if file_hashes is None else file_hashes
    return facts


def digest_of(example_hashes: Hashes) -> str:
    """Returns the digest of a set of examples: SHA-256 over their sorted hashes, hexadecimal."""
    return hashlib.sha256(np.sort(sortable(example_hashes)).tobytes()).hexdigest()


def keys_of(hashes: Hashes) -> list[bytes]:
    """Returns [N, 32] uint8 as N bytes objects."""
    content = hashes.tobytes()
    return [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]


def sortable(hashes: Hashes) -> npt.NDArray[np.bytes_]:
    """Returns [N, 32] uint8 as [N] texts of fixed width, which NumPy compares byte by byte."""
    return np.ascontiguousarray(hashes).view(f"S{HASH_BYTES}").ravel()


def eval_size(train_rows: int) -> int:
    """Returns how many rows of the source's training split become `eval`."""
    return min(MAX_EVAL_ROWS, train_rows // MIN_TRAIN_PER_EVAL)


def quotas_of(class_counts: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """Divides `size` rows among classes in proportion, by the largest remainder, ties by label."""
    total = max(1, int(class_counts.sum()))
    quotas = class_counts * size // total
    remainders = class_counts * size % total
    left = size - int(quotas.sum())
    quotas[np.argsort(-remainders, kind="stable")[:left]] += 1
    return quotas


def smallest_rows(
    labels: np.ndarray, example_hashes: Hashes, quotas: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Returns of each class its quota of rows with the smallest hashes, ascending.

    The same images are chosen in whatever order and shards the rows come.
    """
    order = np.lexsort((sortable(example_hashes), labels))
    ends = np.cumsum(np.bincount(labels, minlength=len(quotas)))
    chosen = [rows[:quota] for rows, quota in zip(np.split(order, ends), quotas, strict=False)]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *chosen]))
