import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.devices import in_own_process
from trainer.augmentation import Augmentation, make_augmentation
from trainer.batches import TrainingBatches
from trainer.device_memory import OutOfMemory
from trainer.hparams import HParams
from trainer.inputs import LoadedSplit
from trainer.paged_array import PagedArray
from trainer.strategy import mirrored_strategy

UNCHANGED = make_augmentation(HParams(max_shift=0))


def numbered(rows: int) -> LoadedSplit:
    """A split whose every pixel of image i has the value i."""
    images = np.broadcast_to(np.arange(rows, dtype=np.uint8)[:, None, None, None], (rows, 8, 8, 1))
    return LoadedSplit(
        images=tf.constant(images),
        labels=tf.one_hot(tf.range(rows) % 2, 2),
        levels=tf.range(256, dtype=tf.float32)[:, None],
    )


def coloured(rows: int) -> LoadedSplit:
    """Random pixels of three channels, whose levels differ; the label tells the row."""
    rng = np.random.default_rng(3)
    return LoadedSplit(
        images=tf.constant(rng.integers(0, 256, (rows, 8, 7, 3), np.uint8)),
        labels=tf.one_hot(tf.range(rows), rows),
        levels=tf.constant(rng.normal(size=(256, 3)).astype(np.float32)),
    )


def stored(split: LoadedSplit, folder: str) -> LoadedSplit:
    """The same in files."""
    files = []
    for values in (split.images.numpy(), split.labels.numpy()):
        files.append(PagedArray(values.shape, values.dtype, folder=Path(folder)))
        files[-1].array[...] = values
    return LoadedSplit(*(file.tensor() for file in files), split.levels, scratch=tuple(files))


def written(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Writes what was drawn first for an image into all its pixels."""
    return tf.zeros_like(images) + tf.cast(draws[:, :1, None, None], tf.float32)


def global_batches(
    split: LoadedSplit,
    *,
    batch: int = 4,
    epochs: int = 2,
    seed: int = 7,
    augmentation: Augmentation = UNCHANGED,
    replicas: int = 1,
    epochs_done: int = 0,
    steps_per_call: int = 32,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields images and labels of each step, the shares of the replicas put together."""
    strategy = mirrored_strategy(replicas)
    made = TrainingBatches(
        split, batch=batch, seed=seed, augmentation=augmentation, strategy=strategy
    )

    @tf.function(autograph=False, reduce_retracing=True)
    def shares(drawn: tuple[tf.Tensor, tf.Tensor], place: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return strategy.run(made.share, args=(made.data, drawn, place))

    for epoch in range(epochs_done, epochs):
        for begin in range(0, made.steps_per_epoch, steps_per_call):
            count = min(steps_per_call, made.steps_per_epoch - begin)
            first = epoch * made.steps_per_epoch + begin
            drawn = made.draw(tf.constant(first), tf.constant(count))
            for place in range(count):
                of_step = map(
                    strategy.experimental_local_results, shares(drawn, tf.constant(place))
                )
                images, labels = map(np.concatenate, of_step)
                yield images, labels


def order(split: LoadedSplit, **options) -> list[list[int]]:
    """The numbers of the images of each step."""
    batches = global_batches(split, **options)
    return [images[:, 0, 0, 0].astype(int).tolist() for images, _ in batches]


def test_each_channel_is_normalized_by_levels_of_its_own():
    split = coloured(12)
    pixels, levels = split.images.numpy(), split.levels.numpy()
    expected = np.stack([levels[:, channel][pixels[..., channel]] for channel in range(3)], axis=-1)
    np.testing.assert_array_equal(split.normalized(split.images), expected)
    for images, labels in global_batches(split, epochs=1):
        np.testing.assert_array_equal(images, expected[np.argmax(labels, axis=1)])


def test_an_epoch_sees_every_example_once():
    batches = order(numbered(12), epochs=1)
    assert sorted(row for batch in batches for row in batch) == list(range(12))


def test_the_order_is_the_shuffle_of_the_seed_and_the_epoch():
    def row(position, epoch):
        return int(tf.random.experimental.index_shuffle(position, [7, epoch], 10))

    # 11 rows: two batches of 4 in each epoch.
    expected = [
        [row(4 * step + place, epoch) for place in range(4)] for epoch in (0, 1) for step in (0, 1)
    ]
    assert order(numbered(11), seed=7) == expected


def test_every_epoch_has_another_order():
    batches = order(numbered(12), epochs=5)
    assert len({str(batches[3 * epoch : 3 * epoch + 3]) for epoch in range(5)}) == 5


def test_the_rest_that_fills_no_batch_is_dropped_another_one_each_time():
    batches = order(numbered(11), epochs=5)
    assert [len(batch) for batch in batches] == [4] * 10
    seen = [{*batches[2 * epoch], *batches[2 * epoch + 1]} for epoch in range(5)]
    assert [len(rows) for rows in seen] == [8] * 5
    assert len(set(map(frozenset, seen))) == 5


def test_same_seed_same_batches_and_another_seed_others():
    assert order(numbered(12)) == order(numbered(12))
    assert order(numbered(12)) != order(numbered(12), seed=8)


SHIFTED = make_augmentation(HParams(max_shift=2))


def test_the_batches_after_some_epochs_are_those_that_would_have_come():
    whole = list(global_batches(coloured(13), augmentation=SHIFTED))
    resumed = list(global_batches(coloured(13), augmentation=SHIFTED, epochs_done=1))
    for expected, batch in zip(whole[3:], resumed, strict=True):
        np.testing.assert_array_equal(batch[0], expected[0])
        np.testing.assert_array_equal(batch[1], expected[1])


@pytest.mark.parametrize("steps", [1, 2])
def test_the_number_of_steps_that_are_drawn_at_once_changes_no_batch(steps):
    some = list(global_batches(coloured(13), augmentation=SHIFTED, steps_per_call=steps))
    for expected, batch in zip(
        global_batches(coloured(13), augmentation=SHIFTED), some, strict=True
    ):
        np.testing.assert_array_equal(batch[0], expected[0])
        np.testing.assert_array_equal(batch[1], expected[1])


def test_labels_stay_with_their_images():
    for images, labels in global_batches(numbered(12), epochs=3, seed=0):
        parity = images[:, 4, 4, 0].astype(int) % 2
        np.testing.assert_array_equal(np.argmax(labels, axis=1), parity)


def test_each_step_is_augmented_with_a_seed_of_its_own():
    shows_seed = Augmentation(lambda batch, seed: tf.fill([batch, 1], seed[1]), written)
    assert order(numbered(12), augmentation=shows_seed) == [[step] * 4 for step in range(6)]


def test_a_split_that_no_device_can_hold_is_refused_with_the_remedy(monkeypatch):
    def fail(tensor):  # as TensorFlow does for a GPU
        raise tf.errors.InternalError(None, None, "Dst tensor is not initialized.")

    monkeypatch.setattr(tf, "identity", fail)
    line = r"train, 864 bytes, exceeds the memory of a device .*: set training.input=stream$"
    with pytest.raises(OutOfMemory, match=line):
        next(global_batches(numbered(12)))


def test_a_batch_larger_than_the_split_is_refused():
    with pytest.raises(ValueError, match=r"global batch is 16, but train has only 12 examples"):
        next(global_batches(numbered(12), batch=16))


_REPLICAS = """
import sys, tempfile
import numpy as np
from trainer.strategy import prepare_devices
prepare_devices(3)
from tests.trainer import test_batches as t
import keras
import tensorflow as tf
from trainer.hparams import HParams
from trainer import batches as module
from trainer.optimizer import apply_gradients, make_optimizer
from trainer.strategy import mirrored_strategy

found = {}
for replicas in (1, 2, 3):
    for name, augmentation in t.OF_REPLICAS.items():
        batches = t.global_batches(
            t.coloured(26), batch=12, augmentation=augmentation, replicas=replicas
        )
        images, labels = map(np.stack, zip(*batches))
        found |= {f"{name} {replicas}": images, f"labels {replicas}": labels}
    with tempfile.TemporaryDirectory() as folder:
        stored = t.stored(t.coloured(26), folder)
        batches = t.global_batches(stored, batch=12, augmentation=t.SHIFTED, replicas=replicas)
        found |= {f"stored {replicas}": np.stack([images for images, _ in batches])}
    module._GPU, gpu = "CPU:", module._GPU
    batches = t.global_batches(
        t.coloured(26), batch=12, augmentation=t.SHIFTED, replicas=replicas
    )
    found |= {f"as on a GPU {replicas}": np.stack([images for images, _ in batches])}
    module._GPU = gpu
    strategy = mirrored_strategy(replicas)
    made = t.TrainingBatches(
        t.coloured(26), batch=12, seed=7, augmentation=t.UNCHANGED, strategy=strategy
    )
    for name, value in zip(("images", "labels", "levels"), made.data, strict=True):
        copies = strategy.experimental_local_results(value)
        found[f"devices of {name} {replicas}"] = [copy.device[-5:] for copy in copies]

strategy = mirrored_strategy(2)
with strategy.scope():
    kernel = keras.Variable([1.0])
    optimizer = make_optimizer(HParams(precision="float16"))
    optimizer.build([kernel])

@tf.function
def step(overflowing):
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    gradient = tf.where(tf.equal(replica, overflowing), [float("inf")], [1.0])
    apply_gradients(optimizer, [gradient, None], [kernel, kernel])

for replica in (0, 1):
    strategy.run(step, args=(replica,))
    found[f"overflow on {replica}"] = [kernel.numpy()[0], optimizer.dynamic_scale.numpy()]
np.savez(sys.argv[1], **found)
"""
WARPED = make_augmentation(HParams(max_shift=2, max_rotation=10.0, max_zoom=0.1))
OF_REPLICAS = {
    "shifted": SHIFTED,
    "draws of shifts": Augmentation(SHIFTED.draw, written),
    "warped": WARPED,
    "draws of warps": Augmentation(WARPED.draw, written),
}


@pytest.fixture(scope="module")
def of_replicas(tmp_path_factory) -> dict[str, np.ndarray]:
    """The global batches of one, two and three replicas, where their data lie, and two replicas'
    steps in which a gradient overflows.
    """
    path = tmp_path_factory.mktemp("replicas") / "found.npz"
    in_own_process(_REPLICAS, str(path))
    with np.load(path) as found:
        return dict(found)


@pytest.mark.parametrize("replicas", [2, 3])
@pytest.mark.parametrize("name", ["labels", "shifted", "draws of shifts", "draws of warps"])
def test_any_number_of_replicas_sees_the_same_global_batches(of_replicas, name, replicas):
    expected = of_replicas[f"{name} 1"]
    assert expected.shape[:2] == (4, 12)
    np.testing.assert_array_equal(of_replicas[f"{name} {replicas}"], expected)


@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("where", ["stored", "as on a GPU"])
def test_a_split_gives_the_same_batches_wherever_it_lies(of_replicas, where, replicas):
    np.testing.assert_array_equal(of_replicas[f"{where} {replicas}"], of_replicas["shifted 1"])


@pytest.mark.parametrize("replicas", [2, 3])
def test_any_number_of_replicas_sees_the_same_warped_images_up_to_rounding(of_replicas, replicas):
    # The last images of a share may be computed by scalar operations, the others by vector ones.
    warped, expected = of_replicas[f"warped {replicas}"], of_replicas["warped 1"]
    np.testing.assert_allclose(warped, expected, atol=1e-4)


@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("name", ["images", "labels", "levels"])
def test_each_replica_has_the_split_on_its_own_device(of_replicas, name, replicas):
    devices = [f"CPU:{replica}" for replica in range(replicas)]
    assert of_replicas[f"devices of {name} {replicas}"].tolist() == devices


def test_a_call_holds_at_most_8_mib_of_pixels_and_32_steps():
    def steps_per_call(side: int, batch: int = 4) -> list[tuple[int, int]]:
        split = LoadedSplit(
            tf.zeros([260, side, side, 1], tf.uint8), tf.zeros([260, 2]), tf.zeros([256, 1])
        )
        made = TrainingBatches(
            split, batch=batch, seed=0, augmentation=UNCHANGED, strategy=mirrored_strategy()
        )
        return list(made.calls(1))

    assert steps_per_call(28) == [(65, 32), (97, 32), (129, 1)]
    # 4 * 512 * 512 bytes are 1 MiB.
    assert steps_per_call(512) == [(65 + 8 * call, 8) for call in range(8)] + [(129, 1)]
    # A step of 16 MiB is made alone.
    assert steps_per_call(512, batch=64) == [(4, 1), (5, 1), (6, 1), (7, 1)]


def test_what_is_expected_are_the_rows_of_the_steps(tmp_path):
    expected = []

    class Asked(PagedArray):
        def expect(self, rows):
            expected.append(list(rows))

    split = stored(numbered(12), str(tmp_path))
    asked = dataclasses.replace(split, scratch=(Asked([1], np.uint8, folder=tmp_path),))
    made = TrainingBatches(
        asked, batch=4, seed=7, augmentation=UNCHANGED, strategy=mirrored_strategy()
    )
    for first in (0, 3):
        made.expect(first, 3)
    made.close()
    rows = [row for rows in expected for row in rows]
    assert rows == [row for batch in order(numbered(12), seed=7) for row in batch]


def test_an_overflow_of_float16_on_any_replica_is_passed_over_by_all(of_replicas):
    # The weight, and the factor of the loss, which is 2**15 at first.
    assert of_replicas["overflow on 0"].tolist() == [1.0, 2.0**14]
    assert of_replicas["overflow on 1"].tolist() == [1.0, 2.0**13]
