"""The check of test images that occur more than once."""

from components.gate.check import Check
from trainer.host.text import percent


def duplicates_check(repeated: int, rows: int, bound: float) -> Check:
    """Checks that few test images only repeat another one, pixel by pixel.

    The gate's tests take each image for one more independent observation, which a copy is not.

    Args:
      repeated: the number of test images less that of different ones.
      rows: the number of test images.
      bound: the largest accepted fraction of these, 0..1.
    """
    share = repeated / rows
    return Check.of(
        "data.duplicates",
        share <= bound,
        share,
        bound,
        start=f"test: {repeated:,} of {rows:,} images only repeat another test image, pixel by "
        f"pixel ({percent(share)}), ",
        good=f"at most {percent(bound)} is allowed",
        bad=f"expected at most {percent(bound)}: the gate would take copies for further evidence; "
        "remove the copies from the data set, or set data_gate.max_test_duplicates",
    )
