"""The Beam pipeline of ExampleGen: shards of a prepared builder in, three splits of examples out.

Whole batches are Beam's elements, so that its cost per element does not count. The plan (which rows
become `eval`, what is wrong, what the artifact will say) is made once, from the facts of all
batches, and reaches the writers as a side input.
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
import tensorflow_datasets as tfds

from components.example_gen.arrays import TEST, TRAIN, missing_class
from components.example_gen.content import (
    MIN_TRAIN_PER_EVAL,
    digest_of,
    eval_rows,
    eval_size,
    keys_of,
)
from components.example_gen.dataset import DatasetInfo
from components.example_gen.features import ImageAndLabel
from components.example_gen.records import Batch, Shard, read_shard, shards_of
from components.example_gen.summary import ExamplesSummary, Overlap, SplitSummary

EVAL = "eval"
SPLITS = (TRAIN, EVAL, TEST)

_ROWS_PER_FILE = 1024
_MAX_FILES_BY_ROWS = 8  # so that reading is parallel on machines of today
_BYTES_PER_FILE = 64 << 20
_GZIP_LEVEL = 1  # PNG is compressed already: level 6 takes longer and saves under 1 %
_OVERLAP_EXAMPLES = 5

FileKey = tuple[str, int]  # (split, number of the output file)
Rows = tuple[bytes, list[bytes]]  # content hashes of n examples, 32 bytes each; n examples


@dataclasses.dataclass(frozen=True)
class Output:
    """Where the examples go.

    Attributes:
      directories: split -> directory.
      files: split -> how many files.
      staging: a directory on the same filesystem, for files that are being written.
      report: the file that says how it went.
    """

    directories: Mapping[str, str]
    files: Mapping[str, int]
    staging: str
    report: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """What all batches together say.

    Attributes:
      problems: why the data cannot be used; nothing is written when there are any.
      eval_rows: number of a training shard -> its rows that become `eval`, ascending.
      summary: None when there are problems.
    """

    problems: tuple[str, ...]
    eval_rows: Mapping[int, np.ndarray]
    summary: ExamplesSummary | None


def file_counts(builder: tfds.core.DatasetBuilder) -> dict[str, int]:
    """How many files each split is written to."""
    train, test = (builder.info.splits[split] for split in (TRAIN, TEST))
    cut = eval_size(train.num_examples)
    share = cut / max(1, train.num_examples)
    return {
        TRAIN: _files(train.num_examples - cut, train.num_bytes * (1 - share)),
        EVAL: _files(cut, train.num_bytes * share),
        TEST: _files(test.num_examples, test.num_bytes),
    }


def _files(rows: int, num_bytes: float) -> int:
    by_rows = min(rows // _ROWS_PER_FILE, _MAX_FILES_BY_ROWS)
    return max(1, by_rows, int(num_bytes // _BYTES_PER_FILE))


def generate(
    pipeline: beam.Pipeline,
    *,
    builder: tfds.core.DatasetBuilder,
    source: ImageAndLabel,
    info: DatasetInfo,
    output: Output,
) -> None:
    """Adds all steps to a pipeline; its outcome stands in `output.report`, see `read_report`."""
    shards = [*shards_of(builder, TRAIN), *shards_of(builder, TEST)]
    batches = (
        pipeline
        | "Shards" >> beam.Create(shards, reshuffle=True)
        | "ReadShard" >> beam.ParDo(ReadShard(builder.data_dir, source))
    )
    plan = (
        batches
        | "Facts" >> beam.Map(Batch.without_examples)
        | "AllFacts" >> beam.combiners.ToList()
        | "Plan" >> beam.Map(make_plan, info)
    )
    written = (
        batches
        | "AssignFiles" >> beam.FlatMap(assign_files, beam.pvalue.AsSingleton(plan), output.files)
        | "ByFile" >> beam.GroupByKey()
        | "WriteFile" >> beam.Map(write_file, output)
        | "AllWritten" >> beam.combiners.ToList()
    )
    _ = written | "Report" >> beam.Map(write_report, beam.pvalue.AsSingleton(plan), output.report)


class ReadShard(beam.DoFn):
    """Shard -> batches."""

    def __init__(self, directory: str, source: ImageAndLabel) -> None:
        self._directory = str(directory)
        self._source = source

    def setup(self) -> None:
        self._builder = tfds.builder_from_directory(self._directory)
        self._rows = beam.metrics.Metrics.counter("ImageExampleGen", "rows_read")

    def process(self, shard: Shard) -> Iterator[Batch]:
        for batch in read_shard(self._builder, shard, self._source):
            self._rows.inc(len(batch.labels))
            yield batch


def make_plan(batches: Sequence[Batch], info: DatasetInfo) -> Plan:
    """Cuts `eval`, checks the splits, and summarizes. `batches` may come in any order."""
    problems = sorted(problem for batch in batches for problem in batch.problems)
    if problems:
        return Plan(_named(info, problems), {}, None)
    batches = sorted(batches, key=lambda batch: (batch.shard.split, batch.shard.index, batch.start))
    facts = {split: _Facts.of(batches, split) for split in (TRAIN, TEST)}
    chosen = np.zeros(len(facts[TRAIN].labels), bool)
    chosen[eval_rows(facts[TRAIN].labels, facts[TRAIN].example_hashes)] = True
    splits = {
        TRAIN: facts[TRAIN].select(~chosen),
        EVAL: facts[TRAIN].select(chosen),
        TEST: facts[TEST],
    }
    problems = [problem for name in SPLITS for problem in _split_problems(name, splits[name], info)]
    if problems:
        return Plan(_named(info, problems), {}, None)
    return Plan((), _rows_by_shard(batches, chosen), _summarize(info, splits))


def _named(info: DatasetInfo, problems: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"dataset {info.spec!r}: {problem}" for problem in problems)


@dataclasses.dataclass(frozen=True)
class _Facts:
    """The columns of a split: labels and pixel_sums [N] int64, hashes [N, 32] uint8."""

    labels: np.ndarray
    image_hashes: np.ndarray
    example_hashes: np.ndarray
    pixel_sums: np.ndarray

    @classmethod
    def of(cls, batches: Sequence[Batch], split: str) -> _Facts:
        of_split = [batch for batch in batches if batch.shard.split == split]
        return cls(
            labels=np.concatenate([np.zeros(0, np.int64), *(b.labels for b in of_split)]),
            image_hashes=_stack([b.image_hashes for b in of_split]),
            example_hashes=_stack([b.example_hashes for b in of_split]),
            pixel_sums=np.concatenate([np.zeros(0, np.int64), *(b.pixel_sums for b in of_split)]),
        )

    def select(self, rows: np.ndarray) -> _Facts:
        return _Facts(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


def _stack(hashes: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros((0, 32), np.uint8), *hashes])


def _split_problems(name: str, facts: _Facts, info: DatasetInfo) -> list[str]:
    if not len(facts.labels) and name == EVAL:
        return [
            f"the {name} split is empty, expected at least {MIN_TRAIN_PER_EVAL} images in the "
            "source's training split, of which an eighth becomes eval"
        ]
    if not len(facts.labels):
        return [f"the {name} split is empty, expected at least one image"]
    counts = np.bincount(facts.labels, minlength=info.num_classes)
    missing = [info.class_names[label] for label in np.flatnonzero(counts == 0)]
    # A class of under eight training images may have none in eval: that is the cut, not the data.
    if missing and name != EVAL:
        return [missing_class("", name, missing, info.num_classes).removeprefix(": ")]
    return []


def _rows_by_shard(batches: Sequence[Batch], chosen: np.ndarray) -> dict[int, np.ndarray]:
    """`chosen` over all training rows, in the order of `batches`, as row numbers per shard."""
    rows: dict[int, list[np.ndarray]] = {}
    at = 0
    for batch in batches:
        if batch.shard.split == TRAIN:
            here = np.flatnonzero(chosen[at : at + len(batch.labels)])
            rows.setdefault(batch.shard.index, []).append(batch.start + here)
            at += len(batch.labels)
    return {index: np.concatenate(parts) for index, parts in rows.items()}


def _summarize(info: DatasetInfo, splits: Mapping[str, _Facts]) -> ExamplesSummary:
    return ExamplesSummary(
        name=info.name,
        fingerprint=info.fingerprint,
        image_shape=info.image_shape,
        class_names=info.class_names,
        splits={name: _summarize_split(info, facts) for name, facts in splits.items()},
        overlap=_overlap(splits),
    )


def _summarize_split(info: DatasetInfo, facts: _Facts) -> SplitSummary:
    rows = len(facts.labels)
    white = 255 * int(np.prod(info.image_shape))
    counts = np.bincount(facts.labels, minlength=info.num_classes)
    return SplitSummary(
        rows=rows,
        class_counts=tuple(int(count) for count in counts),
        digest=digest_of(facts.example_hashes),
        mean_intensity=int(facts.pixel_sums.sum()) / (rows * white),
    )


def _overlap(splits: Mapping[str, _Facts]) -> Overlap:
    trained = {*keys_of(splits[TRAIN].image_hashes), *keys_of(splits[EVAL].image_hashes)}
    both = sorted(key for key in keys_of(splits[TEST].image_hashes) if key in trained)
    few = sorted(set(both))[:_OVERLAP_EXAMPLES]
    return Overlap(train_test=len(both), examples=tuple(key.hex() for key in few))


def assign_files(
    batch: Batch, plan: Plan, files: Mapping[str, int]
) -> Iterator[tuple[FileKey, Rows]]:
    """Sends each row of a batch to its split and, by its content, to one of the split's files."""
    if plan.problems:
        return
    rows = len(batch.labels)
    is_eval = np.zeros(rows, bool)
    if batch.shard.split == TRAIN:
        chosen = plan.eval_rows[batch.shard.index] - batch.start
        is_eval[chosen[(chosen >= 0) & (chosen < rows)]] = True
    # By bytes 8 to 15 of the hash. Its first bytes choose the rows of eval, the smallest hashes, so
    # they are nearly the same in all of those rows.
    spread = np.ascontiguousarray(batch.example_hashes[:, 8:16]).view("<u8").ravel()
    for split in (TRAIN, EVAL) if batch.shard.split == TRAIN else (TEST,):
        of_split = is_eval if split == EVAL else ~is_eval
        file = spread % np.uint64(files[split])
        for number in range(files[split]):
            chosen = np.flatnonzero(of_split & (file == number))
            if len(chosen):
                yield (
                    (split, number),
                    (batch.example_hashes[chosen].tobytes(), [batch.examples[i] for i in chosen]),
                )


def write_file(file: tuple[FileKey, Iterable[Rows]], output: Output) -> tuple[str, int]:
    """Writes one gzip TFRecord file, its rows in the order of their content hashes.

    So the files hold the same examples in the same order, in whatever order and shards the source
    gave them, and a reader meets the classes mixed.

    Returns:
      The split and the number of rows written.
    """
    (split, number), parts = file
    rows = sorted(
        (hash_key[16:], example)
        for hashes, examples in parts
        for hash_key, example in zip(
            keys_of(np.frombuffer(hashes, np.uint8)), examples, strict=True
        )
    )
    name = f"data_tfrecord-{number:05d}-of-{output.files[split]:05d}.gz"
    staged = os.path.join(output.staging, f"{split}-{name}-{uuid.uuid4().hex}")
    options = tf.io.TFRecordOptions("GZIP", compression_level=_GZIP_LEVEL)
    with tf.io.TFRecordWriter(staged, options) as writer:
        for _, example in rows:
            writer.write(example)
    # A runner may try a step twice: only a whole file ever bears the name.
    tf.io.gfile.rename(staged, os.path.join(output.directories[split], name), overwrite=True)
    return split, len(rows)


def write_report(written: Sequence[tuple[str, int]], plan: Plan, path: str) -> None:
    """Leaves the outcome where the driver of the pipeline finds it, on whatever runner."""
    rows = {split: sum(count for name, count in written if name == split) for split in SPLITS}
    report = {
        "problems": list(plan.problems),
        "rows": rows,
        "summary": plan.summary.to_json() if plan.summary else None,
    }
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(report))


def read_report(path: str) -> tuple[tuple[str, ...], ExamplesSummary | None]:
    """The problems and the summary; a summary only when there are no problems.

    Raises:
      RuntimeError: fewer or more rows were written than planned, which no data can cause.
    """
    with tf.io.gfile.GFile(path) as file:
        report = json.load(file)
    if report["summary"] is None:
        return tuple(report["problems"]), None
    summary = ExamplesSummary.from_json(report["summary"])
    planned = {name: split.rows for name, split in summary.splits.items()}
    if report["rows"] != planned:
        raise RuntimeError(f"rows written: {report['rows']}, expected {planned}")
    return (), summary
