"""The Beam pipeline of ExampleGen: shards of a data set are read, hashed, split and written.

Beam's elements are whole batches, so its cost per element does not matter. The facts of all batches
make one plan, which reaches the writers as a side input.
"""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence

import apache_beam as beam
import numpy as np
import tensorflow as tf

from components.example_gen.example_facts import (
    FACTS,
    MIN_TRAIN_PER_EVAL,
    digest_of,
    eval_rows,
    eval_size,
    facts_of,
    keys_of,
)
from components.example_gen.examples_summary import ExamplesSummary, Overlap, SplitSummary
from components.example_gen.image_set import TEST, TRAIN, DatasetInfo, ImageSet, Shard
from components.example_gen.images import encode_examples, read_rows
from components.example_gen.sources import DataError
from components.example_gen.stored_sizes import size_tells, sizes_of
from components.monitoring.summary import INTENSITY_BINS

EVAL = "eval"
SPLITS = (TRAIN, EVAL, TEST)

_STAGING = ".staging"  # beside the splits: files that are being written
_REPORT = f"{_STAGING}/report.json"
_ROWS_PER_FILE = 1024
_MAX_FILES_BY_ROWS = 8  # so that reading is parallel on machines of today
_BYTES_PER_FILE = 64 << 20
_GZIP_LEVEL = 1  # PNG is compressed already: level 6 takes longer and saves under 1 %
_OVERLAP_EXAMPLES = 5

FileKey = tuple[str, int]  # (split, number of the output file)
KeyedExamples = tuple[bytes, list[bytes]]  # hashes of n examples, 32 bytes each; n examples


@dataclasses.dataclass(frozen=True)
class Batch:
    """Some successive rows of a shard, from row `start` of it.

    Attributes:
      facts: [n] FACTS.
      examples: n serialized tf.Examples; none if only the facts are carried on.
      problem: why this shard cannot be used, in which case rows may be missing.
    """

    shard: Shard
    start: int
    facts: np.ndarray
    examples: list[bytes]
    problem: str = ""

    def without_examples(self) -> Batch:
        return dataclasses.replace(self, examples=[])


@dataclasses.dataclass(frozen=True)
class SplitPlan:
    """The rows of eval and the summary of the examples; with problems, nothing is written.

    `is_eval` holds [n] bool by index of a training shard and start of a batch.
    """

    problems: tuple[str, ...]
    is_eval: Mapping[tuple[int, int], np.ndarray]
    summary: ExamplesSummary | None


def generate(pipeline: beam.Pipeline, image_set: ImageSet, uri: str) -> None:
    """Adds the steps that write the splits below `uri`; `finish` reads their outcome."""
    for directory in (_STAGING, *map(_directory, SPLITS)):
        tf.io.gfile.makedirs(os.path.join(uri, directory))
    files = file_counts(image_set)
    batches = (
        pipeline
        | "Shards" >> beam.Create(image_set.shards, reshuffle=True)
        | "ReadShard" >> beam.FlatMap(read_shard, image_set)
    )
    plan = (
        batches
        | "Facts" >> beam.Map(Batch.without_examples)
        | "AllFacts" >> beam.combiners.ToList()
        | "Plan" >> beam.Map(make_plan, image_set.info, image_set.skipped, image_set.ignored)
    )
    _ = plan | "Report" >> beam.Map(_write_report, uri)
    _ = (
        batches
        | "AssignFiles" >> beam.FlatMap(assign_files, beam.pvalue.AsSingleton(plan), files)
        | "ByFile" >> beam.GroupByKey()
        | "WriteFile" >> beam.Map(_write_file, files, uri)
    )


def read_shard(shard: Shard, image_set: ImageSet) -> Iterator[Batch]:
    """Reads, checks and hashes one shard; a bad shard ends with a batch that states the problem.

    Problems are values, because exceptions lose their type on the way through Beam.
    """
    counter = beam.metrics.Metrics.counter("ImageExampleGen", "rows_read")
    start = 0
    try:
        for rows in read_rows(image_set, shard):
            facts = facts_of(rows.pixels, rows.labels, rows.stored)
            examples = encode_examples(rows, facts["pixel_sum"])
            yield Batch(shard, start, facts, examples)
            start += len(examples)
            counter.inc(len(examples))
    except DataError as problem:
        yield Batch(shard, start, np.empty(0, FACTS), [], str(problem))


def make_plan(
    batches: Sequence[Batch], info: DatasetInfo, skipped: int = 0, ignored: int = 0
) -> SplitPlan:
    """Cuts `eval`, checks the splits, and summarizes them; `batches` may come in any order.

    `skipped` and `ignored` are those of the `ImageSet`.
    """
    if problems := sorted(batch.problem for batch in batches if batch.problem):
        return _refusal(info, problems)
    batches = sorted(batches, key=lambda batch: (batch.shard.index, batch.start))
    train = [batch for batch in batches if batch.shard.split == TRAIN]
    test = [batch for batch in batches if batch.shard.split == TEST]
    facts = _joined(train)
    is_eval = np.zeros(len(facts), bool)
    is_eval[eval_rows(facts["label"], facts["example_hash"])] = True
    splits = {TRAIN: facts[~is_eval], EVAL: facts[is_eval], TEST: _joined(test)}
    if problems := [text for name in SPLITS for text in _split_problems(name, splits[name], info)]:
        return _refusal(info, problems)
    ends = np.cumsum([len(batch.facts) for batch in train])
    by_batch = {
        (batch.shard.index, batch.start): rows
        for batch, rows in zip(train, np.split(is_eval, ends[:-1]), strict=True)
    }
    summary = dataclasses.replace(_summarize(info, splits), skipped=skipped, ignored=ignored)
    return SplitPlan((), by_batch, summary)


def _joined(batches: Sequence[Batch]) -> np.ndarray:
    return np.concatenate([np.empty(0, FACTS), *(batch.facts for batch in batches)])


def _refusal(info: DatasetInfo, problems: Iterable[str]) -> SplitPlan:
    return SplitPlan(tuple(f"dataset {info.spec!r}: {problem}" for problem in problems), {}, None)


def _split_problems(name: str, facts: np.ndarray, info: DatasetInfo) -> list[str]:
    if not len(facts):
        least = "one image"
        if name == EVAL:
            least = (
                f"{MIN_TRAIN_PER_EVAL} images in the source's training split, of which an eighth "
                "becomes eval"
            )
        return [f"the {name} split is empty, expected at least {least}"]
    counts = np.bincount(facts["label"], minlength=info.num_classes)
    missing = [info.class_names[label] for label in np.flatnonzero(counts == 0)]
    # A class of under eight training images may have none in eval: that is the cut, not the data.
    if missing and name != EVAL:
        return [
            f"the {name} split has no image of class {', '.join(missing)}, expected each of the "
            f"{info.num_classes} classes in it"
        ]
    return []


def _summarize(info: DatasetInfo, splits: Mapping[str, np.ndarray]) -> ExamplesSummary:
    test, *trained = (keys_of(splits[name]["image_hash"]) for name in (TEST, TRAIN, EVAL))
    seen = {key for keys in trained for key in keys}
    both = sorted(key for key in test if key in seen)
    few = sorted(set(both))[:_OVERLAP_EXAMPLES]
    judged = np.concatenate([splits[EVAL], splits[TEST]])
    tells = size_tells(splits[TRAIN], judged, info.num_classes) if info.resize else ()
    return ExamplesSummary(
        name=info.name,
        fingerprint=info.fingerprint,
        image_shape=info.image_shape,
        class_names=info.class_names,
        splits={name: _summarize_split(info, facts) for name, facts in splits.items()},
        overlap=Overlap(len(both), tuple(key.hex() for key in few)),
        resize=info.resize,
        extra=info.extra,
        size_tells=tells,
    )


def _summarize_split(info: DatasetInfo, facts: np.ndarray) -> SplitSummary:
    white = 255 * int(np.prod(info.image_shape))
    bins = np.minimum(facts["pixel_sum"] * INTENSITY_BINS // white, INTENSITY_BINS - 1)
    return SplitSummary(
        rows=len(facts),
        class_counts=tuple(np.bincount(facts["label"], minlength=info.num_classes).tolist()),
        digest=digest_of(facts["example_hash"]),
        mean_intensity=int(facts["pixel_sum"].sum()) / (len(facts) * white),
        sizes=sizes_of(facts) if info.resize else None,
        grey=int(facts["grey"].sum()) if info.image_shape[2] == 3 else None,
        intensities=tuple(np.bincount(bins, minlength=INTENSITY_BINS).tolist()),
    )


def assign_files(
    batch: Batch, plan: SplitPlan, files: Mapping[str, int]
) -> Iterator[tuple[FileKey, KeyedExamples]]:
    """Sends each row of a batch to its split and, by its content, to one of the split's files."""
    if plan.problems:
        return
    hashes = batch.facts["example_hash"]
    # By bytes 8 to 15 of the hash. Its first bytes choose the rows of eval, the smallest hashes, so
    # they are nearly the same in all of those rows.
    spread = np.ascontiguousarray(hashes[:, 8:16]).view("<u8").ravel()
    if batch.shard.split == TEST:
        splits = {TEST: np.ones(len(hashes), bool)}
    else:
        is_eval = plan.is_eval[batch.shard.index, batch.start]
        splits = {TRAIN: ~is_eval, EVAL: is_eval}
    for split, of_split in splits.items():
        file = spread % np.uint64(files[split])
        for number in range(files[split]):
            chosen = np.flatnonzero(of_split & (file == number))
            if len(chosen):
                examples = [batch.examples[row] for row in chosen]
                yield (split, number), (hashes[chosen].tobytes(), examples)


def _directory(split: str) -> str:
    return f"Split-{split}"


def file_counts(image_set: ImageSet) -> dict[str, int]:
    """Returns the number of files of each split."""
    rows, num_bytes = image_set.rows(TRAIN), image_set.num_bytes[TRAIN]
    cut = eval_size(rows)
    share = cut / max(1, rows)
    sizes = {
        TRAIN: (rows - cut, num_bytes * (1 - share)),
        EVAL: (cut, num_bytes * share),
        TEST: (image_set.rows(TEST), image_set.num_bytes[TEST]),
    }
    return {
        split: max(1, min(n // _ROWS_PER_FILE, _MAX_FILES_BY_ROWS), int(size // _BYTES_PER_FILE))
        for split, (n, size) in sizes.items()
    }


def _write_file(
    file: tuple[FileKey, Iterable[KeyedExamples]], files: Mapping[str, int], uri: str
) -> None:
    """Writes rows in the order of their hashes: the same file from any source, classes mixed."""
    (split, number), parts = file
    rows = sorted(
        (key[16:], example)
        for hashes, examples in parts
        for key, example in zip(keys_of(np.frombuffer(hashes, np.uint8)), examples, strict=True)
    )
    name = f"data_tfrecord-{number:05d}-of-{files[split]:05d}.gz"
    staged = os.path.join(uri, _STAGING, f"{split}-{name}-{uuid.uuid4().hex}")
    options = tf.io.TFRecordOptions("GZIP", compression_level=_GZIP_LEVEL)
    with tf.io.TFRecordWriter(staged, options) as writer:
        for _, example in rows:
            writer.write(example)
    # A runner may try a step twice: only a whole file ever bears the name.
    tf.io.gfile.rename(staged, os.path.join(uri, _directory(split), name), overwrite=True)


def _write_report(plan: SplitPlan, uri: str) -> None:
    """Leaves the outcome where the driver of the pipeline finds it, on any runner."""
    summary = plan.summary.to_json() if plan.summary else None
    with tf.io.gfile.GFile(os.path.join(uri, _REPORT), "w") as file:
        file.write(json.dumps({"problems": plan.problems, "summary": summary}))


def finish(uri: str) -> ExamplesSummary:
    """Removes temporary files and returns the summary; raises DataError if nothing was written."""
    with tf.io.gfile.GFile(os.path.join(uri, _REPORT)) as file:
        report = json.load(file)
    if report["summary"] is None:
        first, *others = report["problems"]
        raise DataError(first + (f" (and {len(others)} more)" if others else ""))
    tf.io.gfile.rmtree(os.path.join(uri, _STAGING))
    return ExamplesSummary.from_json(report["summary"])
