"""Writes the images of IDX files as JPEG files of mixed sizes in class folders, a folder per split.

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb fashion
    python benchmarks/own_images.py fashion/usr/share/datasets/fashion-mnist OUT
    tfx-mnist run --dataset folder:OUT --set data.image_size=28

A JPEG has a side of 28 to 56 pixels, drawn at random, and quality 90.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from components.example_gen.images import read_arrays
from components.example_gen.opening import open_dataset

SIDES = 28, 56
QUALITY = 90


def main() -> None:
    """Writes one file per image, enlarged to its side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="of the IDX files")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    data = open_dataset(f"idx:{args.directory}", data_dir=None)
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        images, labels = read_arrays(data, split)
        for number, (image, label) in enumerate(zip(images.squeeze(3), labels, strict=True)):
            # The class "T-shirt/top" is no name of a folder.
            name = data.info.class_names[label].replace("/", " or ")
            path = args.out / split / name / f"{number:05d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            side = int(rng.integers(SIDES[0], SIDES[1] + 1))
            larger = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
            larger.save(path, quality=QUALITY)


if __name__ == "__main__":
    main()
