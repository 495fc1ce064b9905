"""Makes images small by the means of square blocks of pixels, for quick looks at many images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_AT_ONCE = 1000  # images: their pixels become floats, four times as large


def block_means(images: npt.NDArray[np.uint8], max_side: int) -> npt.NDArray[np.float32]:
    """Averages [N, H, W, C] uint8 over square blocks to [N, rows * columns * C] float32, 0..1.

    The blocks are the smallest of which at most `max_side` lie along each side. If they do not
    divide the image, black is added below and on the right.
    """
    count, height, width, channels = images.shape
    size = -(-max(height, width) // max_side)  # pixels on a block's side
    rows, columns = -(-height // size), -(-width // size)
    margins = ((0, 0), (0, rows * size - height), (0, columns * size - width), (0, 0))
    means = np.empty((count, rows * columns * channels), np.float32)
    for start in range(0, count, _AT_ONCE):
        pixels = np.pad(images[start : start + _AT_ONCE], margins)
        blocks = pixels.reshape(-1, rows, size, columns, size, channels)
        sums = blocks.sum(axis=4, dtype=np.float32).sum(axis=2)  # [n, rows, columns, C]
        means[start : start + _AT_ONCE] = sums.reshape(len(pixels), -1) / (255 * size * size)
    return means
