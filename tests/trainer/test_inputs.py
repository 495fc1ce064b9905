import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from tests.trainer.samples import SPEC
from trainer import inputs


def numbered(rows: int) -> inputs.Split:
    """A split whose every pixel of image i has the value i."""
    images = tf.ones([rows, 8, 8, 1]) * tf.reshape(tf.range(rows, dtype=tf.float32), [-1, 1, 1, 1])
    return inputs.Split(images=images, labels=tf.one_hot(tf.range(rows) % 2, 2))


def order(split: inputs.Split, **changes) -> list[list[int]]:
    options = {"batch": 4, "epochs": 2, "seed": 7, "max_shift": 0} | changes
    batches = inputs.training_batches(split, **options)
    return [images[:, 0, 0, 0].numpy().astype(int).tolist() for images, _ in batches]


def test_load_split_keeps_rows_and_order(prepared):
    split = inputs.load_split(
        [prepared.eval_files], tft.TFTransformOutput(prepared.transform_output)
    )
    assert split.images.shape == (32, *SPEC.image_shape)
    np.testing.assert_array_equal(np.argmax(split.labels, axis=1), prepared.eval_labels)


def test_load_split_without_examples_says_so(prepared, tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match=r"no examples in .*empty\*: is the split empty"):
        inputs.load_split(
            [str(tmp_path / "empty*")], tft.TFTransformOutput(prepared.transform_output)
        )


def test_an_epoch_sees_every_example_once():
    batches = order(numbered(12), epochs=1)
    assert sorted(row for batch in batches for row in batch) == list(range(12))


def test_epochs_differ_in_order():
    batches = order(numbered(12))
    assert batches[:3] != batches[3:]


def test_the_rest_that_fills_no_batch_is_dropped():
    assert [len(batch) for batch in order(numbered(11), epochs=1)] == [4, 4]


def test_same_seed_same_batches_and_another_seed_others():
    assert order(numbered(12)) == order(numbered(12))
    assert order(numbered(12)) != order(numbered(12), seed=8)


def test_labels_stay_with_their_images():
    for images, labels in inputs.training_batches(
        numbered(12), batch=4, epochs=3, seed=0, max_shift=1
    ):
        parity = images[:, 4, 4, 0].numpy().astype(int) % 2
        np.testing.assert_array_equal(np.argmax(labels, axis=1), parity)


def test_a_batch_larger_than_the_split_is_refused():
    with pytest.raises(ValueError, match=r"global batch is 16, but train has only 12 examples"):
        inputs.training_batches(numbered(12), batch=16, epochs=1, seed=0, max_shift=0)


def test_shift_moves_the_whole_batch_by_at_most_max_shift():
    images = tf.reshape(tf.range(2 * 8 * 8, dtype=tf.float32), [2, 8, 8, 1])
    offsets = set()
    for seed in range(60):
        moved = inputs.shift(images, 2, tf.constant([0, seed])).numpy()
        # The centre of the first image tells the offset: 8 per row, 1 per column.
        dy, dx = divmod(int(moved[0, 4, 4, 0] - images[0, 4, 4, 0]) + 2 * 8 + 2, 8)
        offsets.add((dy - 2, dx - 2))
        np.testing.assert_array_equal(moved[1, 4, 4] - moved[0, 4, 4], [64.0])
    assert {dy for dy, _ in offsets} == {dx for _, dx in offsets} == {-2, -1, 0, 1, 2}
