"""Real image files of every format, written by Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.trainer.image_files import encoded

SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif"}


def picture(seed: int, height: int = 12, width: int = 10, *, mode: str = "RGB") -> Image.Image:
    """An image of smooth random colours: JPEG keeps it nearly as it is."""
    small = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR).convert(mode)


def fill(
    folder: Path,
    count: int,
    *,
    first: int = 0,
    kind: str = "PNG",
    sizes: str = "one",
    mode: str = "RGB",
) -> list[Path]:
    """Writes `count` files into a folder, numbered like the seeds of their pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed in range(first, first + count):
        size = (12, 10) if sizes == "one" else (8 + seed % 7, 9 + seed % 5)
        path = folder / f"{seed:04d}{SUFFIXES[kind]}"
        path.write_bytes(encoded(picture(seed, *size, mode=mode), kind))
        paths.append(path)
    return paths
