import struct

import pytest
import tensorflow as tf

from tests.trainer.image_files import encoded, exif, oriented, picture, with_segment
from trainer.exif import orientation


def test_the_orientation_is_read_in_either_order_of_bytes_and_behind_other_segments() -> None:
    plain = encoded(picture(), "JPEG")
    for order in ("little", "big"):
        assert [orientation(oriented(number, order=order)) for number in range(1, 9)] == [
            *range(1, 9)
        ]
    colours = b"ICC_PROFILE\0" + bytes(60_000)
    assert orientation(with_segment(with_segment(plain, exif(6)), colours, marker=0xE2)) == 6


def test_the_first_orientation_counts_and_all_of_its_entry_must_be_there() -> None:
    plain = encoded(picture(), "JPEG")
    assert orientation(with_segment(with_segment(plain, exif(3)), exif(6))) == 6
    cut = with_segment(b"\xff\xd8\xff\xe0\0\2", exif(6)[:-4])
    assert [orientation(cut), orientation(cut[:-1])] == [6, 1]


PLAIN = encoded(picture(), "JPEG")


@pytest.mark.parametrize(
    "jpeg",
    [
        PLAIN,
        with_segment(PLAIN, exif(0)),
        with_segment(PLAIN, exif(9)),
        with_segment(PLAIN, exif(6, kind=2)),  # text
        with_segment(PLAIN, exif(6)[:12]),
        # It stands behind the only tag.
        with_segment(PLAIN, exif(6)[:14] + b"\1\0" + exif(6)[16:]),
        with_segment(PLAIN, exif(6, order="big").replace(b"\0\2", b"\0\1", 1)),
        with_segment(PLAIN, b"Exif\0\0"),
        with_segment(PLAIN, b"Exif\0\0MM" + struct.pack(">HI", 42, 0xFFFFFFFF)),
        with_segment(with_segment(PLAIN, b"Exif\0\0MM\0*\xff\xff\xff\xff"), bytes(99), marker=0xE2),
        with_segment(PLAIN, exif(6), marker=0xE2),
        with_segment(PLAIN, b"Exif\0\0II" + struct.pack("<HI", 42, 0x7FFFFFFF)),
        with_segment(PLAIN, exif(6).replace(b"Exif", b"exif")),
        b"\xff\xd8\xff\xe1\x00\x08Exif\0\0MM",
        b"\xff\xd8\xff\xe1",
        b"",
    ],
)
def test_a_jpeg_without_a_valid_orientation_is_upright(jpeg: bytes) -> None:
    assert orientation(tf.constant(jpeg)) == 1
