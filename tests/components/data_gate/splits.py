"""Splits as ExampleGen writes them."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from components.example_gen import file_hashes
from components.example_gen.example_facts import hash_images, sums_of
from components.example_gen.images import Rows, encode_examples


def write_split(
    folder: Path, images: np.ndarray, labels: np.ndarray, sizes: np.ndarray | None = None
) -> str:
    """Writes two files of examples, into which the rows go by turns.

    As the hash of a file stands that of its pixels; `sizes`, [N, 3], are those of the images as
    stored, if the network sees others.
    """
    folder.mkdir(parents=True)
    hashes = hash_images(np.concatenate([images[::2], images[1::2]]))
    file_hashes.write(str(folder.parent), folder.name.removeprefix("Split-"), 0, hashes)
    shapes = np.full((len(labels), 3), images.shape[1:]) if sizes is None else sizes
    rows = Rows(tf.io.encode_png(images).numpy(), labels, images, shapes)
    examples = encode_examples(rows, sums_of(images))
    for number in range(2):
        with tf.io.TFRecordWriter(str(folder / str(number)), "GZIP") as writer:
            for example in examples[number::2]:
                writer.write(example)
    return str(folder)
