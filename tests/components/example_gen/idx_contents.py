"""The contents of small IDX files."""

import struct

import numpy as np

CLASSES = 3
SHAPE = (6, 5)  # rows, columns: not square, so that a mix-up shows


def idx_file(values: np.ndarray) -> bytes:
    """Images [N, H, W] or labels [N] as an IDX file."""
    magic = 0x803 if values.ndim == 3 else 0x801
    header = struct.pack(f">{1 + values.ndim}I", magic, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def split_of(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise images [N, 6, 5] uint8 and their labels [N], the classes in equal numbers."""
    images = np.random.default_rng(seed).integers(0, 256, (rows, *SHAPE), np.uint8)
    return images, np.arange(rows) % CLASSES
