"""Known sets: their class names, and how to recognize them when they come as plain IDX files.

A table of facts about published data, and no default of the program.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class KnownSet:
    """A published image set.

    Attributes:
      name: as tensorflow-datasets calls it.
      class_names: one per label, in the order of the labels, as tensorflow-datasets has them.
      test_images_sha256: of the uncompressed t10k-images IDX file, hexadecimal.
      test_labels_sha256: of the uncompressed t10k-labels IDX file, hexadecimal.
    """

    name: str
    class_names: tuple[str, ...]
    test_images_sha256: str
    test_labels_sha256: str


KNOWN_SETS = (
    KnownSet(
        name="mnist",
        class_names=tuple("0123456789"),
        test_images_sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        test_labels_sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    KnownSet(
        name="fashion_mnist",
        class_names=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        test_images_sha256="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        test_labels_sha256="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)


def recognize(test_images_sha256: str, test_labels_sha256: str) -> KnownSet | None:
    """The known set whose *test* files have these contents.

    The test split alone decides: a set keeps its name, and with it the bounds that its gate sets,
    when a training split was changed, enlarged or cut.
    """
    for known in KNOWN_SETS:
        if (known.test_images_sha256, known.test_labels_sha256) == (
            test_images_sha256,
            test_labels_sha256,
        ):
            return known
    return None
