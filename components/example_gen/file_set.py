"""A data set of image files: looked at, cut into train and test, and read shard by shard.

Opening it reads every file once, and keeps a few bytes of each. Reading a shard opens its files
again, so a data set may be larger than memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from components.example_gen.data_config import DataConfig
from components.example_gen.data_error import DataError
from components.example_gen.example_facts import HASH_BYTES, sortable
from components.example_gen.file_reading import look_at_files
from components.example_gen.file_shards import FileReader, make_shards
from components.example_gen.image_set import TEST, TRAIN, DatasetInfo, ImageSet, name_of
from components.example_gen.listing import Listing
from components.example_gen.opening import image_layout
from components.example_gen.seen_images import BROKEN, NO_IMAGE, WHOLE, falls_on_test
from components.example_gen.sources import DatasetSpec
from components.example_gen.stored_sizes import sizes_of
from trainer.host.text import printable, quoted

_log = logging.getLogger(__name__)

_NAME_WORDS = 37  # with "folder_" and the digest the name is as long as a slug may be

_List = Callable[[Path], Listing]  # of a directory or a table

_last_opened: dict[str, ImageSet] = {}


def open_files(
    list_files: _List, spec: DatasetSpec, data: DataConfig, data_dir: str | None
) -> ImageSet:
    """Opens the files that a source lists as a data set, with `test` cut if it has none.

    What was opened last is kept: a run opens its data set several times. If names, sizes and times
    of all files are the same, they are not read again. `ImageSet.read` checks their content.
    """
    listing = list_files(_place_of(spec))
    if listing.is_test is not None:
        data = dataclasses.replace(data, test_fraction=DataConfig.test_fraction)
    state = _state_of(spec, listing, dataclasses.replace(data, skip_unreadable=0))
    if state not in _last_opened or _last_opened[state].skipped > data.skip_unreadable:
        image_set = _open(spec, listing, data)
        _last_opened.clear()
        _last_opened[state] = image_set
    return _last_opened[state]


def find_name(list_files: _List, spec: DatasetSpec, data_dir: str | None) -> str:
    """Returns the name of the data set, for which the images of its `test` alone are read."""
    listing = list_files(_place_of(spec))
    digest = ""
    if listing.is_test is not None:
        listing = listing.taken(np.flatnonzero(listing.is_test))
        seen, _ = look_at_files(listing.root, listing.paths, listed_only=listing.listed_only)
        whole = np.flatnonzero(seen["state"] == WHOLE)
        listing, seen = listing.taken(whole), seen[whole]
        digest = _fingerprint(listing, seen["digest"], np.ones(len(whole), np.bool_))
    decides = digest or repr(listing.class_names)
    return name_of(spec.source, listing.words, decides, most=_NAME_WORDS)


def _place_of(spec: DatasetSpec) -> Path:
    return Path(spec.text.partition(":")[2])


def _state_of(spec: DatasetSpec, listing: Listing, data: DataConfig) -> str:
    digest = hashlib.sha256(repr((spec, data, listing.class_names, listing.ignored)).encode())
    digest.update(listing.labels.tobytes())
    if listing.is_test is not None:
        digest.update(listing.is_test.tobytes())
    for name, values in listing.extra.items():
        digest.update(f"{name} {values.tolist()}".encode())
    for path in listing.paths:
        try:
            status = os.stat(listing.root / path)
        except OSError as error:
            digest.update(repr((path, error.errno)).encode())
            continue
        times = status.st_mtime_ns, status.st_ctime_ns
        digest.update(repr((path, status.st_dev, status.st_ino, status.st_size, times)).encode())
    return digest.hexdigest()


def _open(spec: DatasetSpec, listing: Listing, data: DataConfig) -> ImageSet:
    seen, reasons = look_at_files(listing.root, listing.paths, listed_only=listing.listed_only)
    skipped = int((seen["state"] == BROKEN).sum())
    if skipped > data.skip_unreadable:
        is_any_left = bool((seen["state"] == WHOLE).any())
        raise _unreadable(spec, listing, reasons, skipped, is_any_left=is_any_left)
    if skipped:
        _log.warning(
            "%s: left out %d unreadable images: %s", spec.text, skipped, "; ".join(reasons)
        )
    ignored = listing.ignored + int((seen["state"] == NO_IMAGE).sum())
    whole = np.flatnonzero(seen["state"] == WHOLE)
    listing, seen = listing.taken(whole), seen[whole]
    is_test = listing.is_test
    if is_test is None:
        is_test = falls_on_test(seen["digest"], data.test_fraction)
    _require_classes(spec, listing, is_test, ignored)
    _warn_of_two_classes(spec, listing, seen["digest"])
    sizes = sizes_of(seen)
    channels = 3 if seen["is_colour"].any() else 1
    shape, resize = image_layout(
        spec.text,
        data,
        sizes=sizes,
        channels=channels,
        as_is=bool((seen["plain"] == channels).all()),
    )
    train, test = (_fingerprint(listing, seen["digest"], side) for side in (~is_test, is_test))
    decides = test if listing.is_test is not None else repr(listing.class_names)
    shards = make_shards(listing, seen, is_test)
    in_order = np.argsort(is_test, kind="stable")  # the shards of train come first
    return ImageSet(
        DatasetInfo(
            spec=spec.text,
            name=name_of(spec.source, listing.words, decides, most=_NAME_WORDS),
            fingerprint=hashlib.sha256(f"{train} {test}".encode()).hexdigest(),
            image_shape=shape,
            class_names=listing.class_names,
            test_rows=int(is_test.sum()),
            resize=resize,
            extra={name: _type_of(values) for name, values in sorted(listing.extra.items())},
            data={"test_fraction": data.test_fraction, "skip_unreadable": skipped},
            sizes=None if sizes[0] == sizes[2] else sizes,
        ),
        shards=shards,
        num_bytes={
            TRAIN: int(seen["num_bytes"][~is_test].sum()),
            TEST: int(seen["num_bytes"][is_test].sum()),
        },
        read=FileReader(listing.root, spec.text),
        remedy=f"look at the files of {spec.text}",
        skipped=skipped,
        ignored=ignored,
        test_values={
            name: frozenset(map(str, np.unique(values[is_test]).tolist()))
            for name, values in listing.extra.items()
            if values.dtype.kind != "f"
        },
        file_hashes=seen["digest"][in_order],
    )


def _unreadable(
    spec: DatasetSpec, listing: Listing, reasons: Sequence[str], count: int, *, is_any_left: bool
) -> DataError:
    more = f"; and {count - len(reasons)} more" if count > len(reasons) else ""
    verb = "images cannot" if count > 1 else "image cannot"
    remedy = f": repair or remove them, or leave them out by --set data.skip_unreadable={count}"
    if not is_any_left:
        remedy = (
            f" below {printable(str(listing.root))}, where there is none: name another directory"
        )
        if listing.listed_only:
            remedy += ", or write the paths of the table relative to its own"
    return DataError(
        f"{spec.text}: {count:,} {verb} be read: {printable('; '.join(reasons))}{more}; expected "
        f"whole images that this user may read{remedy}"
    )


def _require_classes(
    spec: DatasetSpec, listing: Listing, is_test: np.ndarray, ignored: int
) -> None:
    names = listing.class_names
    besides = f" (files that are hidden or of other formats: {ignored:,})" if ignored else ""
    if not len(listing.paths):
        raise DataError(
            f"{spec.text}: holds no image{besides}; expected PNG, JPEG, WebP, BMP or GIF in one "
            "folder per class"
        )
    totals = np.bincount(listing.labels, minlength=len(names))
    if empty := [names[label] for label in np.flatnonzero(totals == 0)]:
        raise DataError(
            f"{spec.text}: the class {quoted(empty[0])} has no image{besides}; expected "
            "one or more of each class in train and in test; add some, or remove the class"
        )
    for split, chosen in ((TRAIN, ~is_test), (TEST, is_test)):
        counts = np.bincount(listing.labels[chosen], minlength=len(names))
        missing = np.flatnonzero(counts == 0)
        if len(missing):
            total = int(totals[missing[0]])
            raise DataError(_missing(spec, listing, split, [names[i] for i in missing], total))


def _missing(spec: DatasetSpec, listing: Listing, split: str, names: list[str], total: int) -> str:
    """Returns the refusal of a split without the classes `names`; the first has `total` images."""
    more = len(names) - 1
    others = f", nor of {more:,} more class{'es' if more > 1 else ''}" if more else ""
    said = f"the {split} split has no image of class {quoted(names[0])}"
    if listing.is_test is not None:
        wanted = "expected each class in train and in test; add some, or correct a misspelt name"
        return f"{spec.text}: {said}{others}, {wanted}"
    return (
        f"{spec.text}: {said}, which has {total:,}{others}; each image falls on train or test "
        "by its content, by data.test_fraction: add images of the class, correct a misspelt name, "
        "change the fraction, or choose the test split yourself"
    )


def _warn_of_two_classes(spec: DatasetSpec, listing: Listing, digests: np.ndarray) -> None:
    """Says which equal images bear two labels; the checks of the data judge their number."""
    keys = sortable(digests)
    order = np.lexsort((listing.labels, keys))
    first, second = order[:-1], order[1:]
    both = (keys[first] == keys[second]) & (listing.labels[first] != listing.labels[second])
    pairs = np.flatnonzero(both)
    if len(pairs):
        one, other = (
            f"{printable(listing.paths[row])} ({quoted(listing.class_names[listing.labels[row]])})"
            for row in (first[pairs[0]], second[pairs[0]])
        )
        _log.warning(
            "%s: equal images in two classes: %d, such as %s and %s",
            spec.text,
            len(pairs),
            one,
            other,
        )


def _fingerprint(listing: Listing, digests: np.ndarray, chosen: np.ndarray) -> str:
    """Returns the SHA-256 over the names of the classes and the sorted contents of their images.

    Names of files and their directory do not count, further features do. `chosen` is [N] bool.
    """
    rows = np.flatnonzero(chosen)
    listing, digests = listing.taken(rows), digests[rows]
    if listing.extra:
        names = sorted(listing.extra)
        values = zip(*(listing.extra[name].tolist() for name in names), strict=True)
        hashed = [
            hashlib.sha256(digest.tobytes() + json.dumps([names, row]).encode()).digest()
            for digest, row in zip(digests, values, strict=True)
        ]
        digests = np.frombuffer(b"".join(hashed), np.uint8).reshape(-1, HASH_BYTES)
    keys = sortable(digests)
    total = hashlib.sha256()
    for label, name in enumerate(listing.class_names):
        of_class = np.flatnonzero(listing.labels == label)
        total.update(json.dumps([name, len(of_class)]).encode())
        total.update(np.sort(keys[of_class]).tobytes())
    return total.hexdigest()


def _type_of(values: np.ndarray) -> str:
    return "str" if values.dtype == object else values.dtype.name
