import pytest
import tensorflow as tf

from trainer.device_memory import OutOfMemory, enough_for

REMEDY = "set training.input=stream"


def said(act):
    with pytest.raises(OutOfMemory) as raised, enough_for("train", remedy=REMEDY):
        act()
    return str(raised.value)


@pytest.mark.once  # test_loop.py has such a tensor in a graph on both
def test_an_absurdly_large_tensor_is_said_with_its_size_and_the_remedy():
    # 2^60 values of 2 bytes
    assert said(lambda: tf.random.uniform([1 << 40, 1 << 20], dtype=tf.float16)) == (
        "train exceeds the memory of a device (2305843.0 TB on CPU:0 for "
        f"half[1099511627776,1048576]): {REMEDY}"
    )


def fails(kind, text):
    def fail():
        raise kind(None, None, text)

    return fail


def test_the_device_of_another_machine_is_named():
    text = (
        "Collective ops is aborted by: OOM when allocating tensor with shape[] and type int64 on "
        "/job:worker/replica:0/task:1/device:GPU:0 by allocator GPU_0_bfc"
    )
    line = said(fails(tf.errors.ResourceExhaustedError, text))
    assert "(8 bytes on /job:worker/replica:0/task:1/device:GPU:0 for int64[])" in line


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        # XLA's, and that of a copy to a GPU.
        (tf.errors.ResourceExhaustedError, "Out of memory while trying to allocate 12 bytes."),
        (
            tf.errors.InternalError,
            "Failed copying input tensor from CPU:0 to GPU:0 in order to run Identity: Dst tensor "
            "is not initialized. [Op:Identity]",
        ),
    ],
)
def test_other_words_for_it_are_kept(kind, text):
    assert said(fails(kind, text)) == (
        f"train exceeds the memory of a device ({kind.__name__}: {text}): {REMEDY}"
    )


def test_other_errors_stay_what_they_are():
    with pytest.raises(tf.errors.InternalError), enough_for("train", remedy=REMEDY):
        fails(tf.errors.InternalError, "cuDNN failed")()
