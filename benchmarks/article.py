"""The plain Keras script of the article, written from its description: the yardstick.

    python benchmarks/article.py DIR [--epochs N] [--seed N]

DIR holds MNIST's four IDX files. conv 32, pool, conv 64, dropout, dense 128, dropout, softmax;
Adadelta with learning rate 1.0, batches of 128, 12 epochs; no validation split, no early stopping.
Prints one JSON object: the accuracy on the test split, 0..1.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import keras
import numpy as np


def read_idx(path: Path, header_bytes: int) -> np.ndarray:
    """The values behind an IDX header, [N] uint8."""
    return np.frombuffer(gzip.decompress(path.read_bytes())[header_bytes:], np.uint8)


def load(folder: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """([N, 28, 28, 1] float32 in 0..1, [N, 10] one-hot)."""
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1)
    labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", 8)
    return images.astype("float32") / 255.0, keras.utils.to_categorical(labels, 10)


def build() -> keras.Model:
    """The article's network, compiled."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.Adadelta(learning_rate=1.0)
    model.compile(optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def main() -> None:
    """Trains on all 60,000 images and evaluates once, after the last epoch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    model = build()
    model.fit(*load(arguments.folder, "train"), batch_size=128, epochs=arguments.epochs, verbose=0)
    _, accuracy = model.evaluate(*load(arguments.folder, "t10k"), batch_size=1000, verbose=0)
    print(json.dumps({"accuracy": round(float(accuracy), 4)}))


if __name__ == "__main__":
    main()
