"""Which file each example was: its SHA-256, in files beside the splits, in the order of their rows.

Names are no part of the examples, which are the same after the files were moved. So whoever names
the files of some examples asks the opened data set, `ImageSet.paths_of`::

    write(uri, "train", 0, hashes)              # [n, 32] uint8, of an output file of ExampleGen
    read(f"{uri}/Split-train")                  # [N, 32] uint8, or [0, 32]
"""

from __future__ import annotations

import os
import uuid

import numpy as np
import tensorflow as tf

from components.example_gen.example_facts import HASH_BYTES, Hashes

_DIRECTORY = "file_hashes"


def write(uri: str, split: str, number: int, hashes: Hashes) -> None:
    """Writes those of the rows of one output file, completely or not at all."""
    directory = os.path.join(uri, _DIRECTORY, f"Split-{split}")
    tf.io.gfile.makedirs(directory)
    path = os.path.join(directory, f"{number:05d}")
    writing = f"{path}-{uuid.uuid4().hex}"  # a runner may try a step twice, at the same time
    with tf.io.gfile.GFile(writing, "wb") as file:
        file.write(hashes.tobytes())
    tf.io.gfile.rename(writing, path, overwrite=True)


def read(split_uri: str) -> Hashes:
    """Reads those of a split; none, [0, 32], where its source has no files."""
    parent, split = os.path.split(split_uri.rstrip("/"))
    directory = os.path.join(parent, _DIRECTORY, split)
    content = b""
    if tf.io.gfile.isdir(directory):
        written = filter(str.isdigit, tf.io.gfile.listdir(directory))  # none that a kill cut short
        for name in sorted(written):
            with tf.io.gfile.GFile(os.path.join(directory, name), "rb") as file:
                content += file.read()
    return np.frombuffer(content, np.uint8).reshape(-1, HASH_BYTES)


def of_row(hashes: Hashes, row: int) -> tuple[str, ...]:
    """Returns the hexadecimal hash of a row of a split; none where its source has no files."""
    return (hashes[row].tobytes().hex(),) if len(hashes) else ()
