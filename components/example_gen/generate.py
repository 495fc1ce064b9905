"""The Beam pipeline of ExampleGen: shards of a data set are read, hashed, split and written.

The examples wait in staged files (`staging`), and Beam's elements are references to parts of them
with sums over these parts. So a runner spreads the work, and its memory does not grow with the
images. Each output file is put together in memory: some 64 MiB of images.
"""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.example_gen import file_hashes
from components.example_gen.data_error import DataError
from components.example_gen.example_facts import eval_size, facts_of, keys_of
from components.example_gen.examples_summary import ExamplesSummary
from components.example_gen.hash_buckets import Bucket, Part, digest, overlap, parts_of, sort_bucket
from components.example_gen.image_set import EVAL, SPLITS, TEST, TRAIN, ImageSet, Shard
from components.example_gen.images import Rows, as_seen, encode_examples, read_rows
from components.example_gen.split_plan import (
    SplitPlan,
    Survey,
    eval_candidates,
    joined_eval_rows,
    joined_surveys,
    make_plan,
)
from components.example_gen.staging import ROWS, Staged, file_numbers, stage
from components.example_gen.stored_sizes import size_tells
from components.example_gen.totals import split_summary, totals_of

_STAGING = ".staging"  # beside the splits: files that are being written
_REPORT = f"{_STAGING}/report.json"
_ROWS_PER_FILE = 1024
_MAX_FILES_BY_ROWS = 8  # so that reading is parallel on machines of today
_BYTES_PER_FILE = 64 << 20
_BYTES_AT_ONCE = 64 << 20
_GZIP_LEVEL = 1  # PNG is compressed already: level 6 takes longer and saves under 1 %

FileKey = tuple[str, int]  # (split, number of the output file)


def generate(pipeline: beam.Pipeline, image_set: ImageSet, uri: str) -> None:
    """Adds the steps that write the splits below `uri`; `finish` reads their outcome."""
    for directory in (_STAGING, *map(_directory, SPLITS)):
        tf.io.gfile.makedirs(os.path.join(uri, directory))
    files = file_counts(image_set)
    # It is sent to each worker.
    reader = dataclasses.replace(image_set, shards=(), file_hashes=None)
    staged_and_surveyed = (
        pipeline
        | "Shards" >> beam.Create(image_set.shards, reshuffle=True)
        | "StageShard" >> beam.FlatMap(stage_shard, reader, files, uri)
        # So that no runner stages a shard again for the next of the steps that use it.
        | "OnceStaged" >> beam.Reshuffle()
    )
    staged = staged_and_surveyed | "Staged" >> beam.Keys()
    survey = (
        staged_and_surveyed
        | "Surveys" >> beam.Values()
        | "WholeSurvey" >> beam.CombineGlobally(joined_surveys).without_defaults()
    )
    eval_rows = (
        staged
        | "EvalCandidates" >> beam.FlatMap(eval_candidates, beam.pvalue.AsSingleton(survey))
        | "EvalRows" >> beam.CombineGlobally(joined_eval_rows).without_defaults()
    )
    none = joined_eval_rows([])  # where a shard has a problem
    plan = survey | "Plan" >> beam.Map(
        make_plan, beam.pvalue.AsSingleton(eval_rows, none), image_set.info
    )
    buckets = (
        pipeline
        | "Files"
        >> beam.Create(
            [(split, n) for split in SPLITS for n in range(files[split])], reshuffle=True
        )
        | "WriteFile"
        >> beam.FlatMap(
            write_file, beam.pvalue.AsList(staged), beam.pvalue.AsSingleton(plan), files, uri
        )
        | "ByHash" >> beam.GroupByKey()
        | "SortBucket" >> beam.Map(sort_bucket, os.path.join(uri, _STAGING))
    )
    _ = plan | "Report" >> beam.Map(_write_report, beam.pvalue.AsList(buckets), reader, uri)


def stage_shard(
    shard: Shard, image_set: ImageSet, files: Mapping[str, int], uri: str
) -> Iterator[tuple[Staged | None, Survey]]:
    """Reads, checks, hashes and stages one shard; a bad shard ends with a survey that says why.

    Problems are values, because exceptions lose their type on the way through Beam.
    """
    counter = beam.metrics.Metrics.counter("ImageExampleGen", "rows_read")
    start = 0
    try:
        for facts, examples in read_parts(image_set, shard):
            staged = stage(
                shard.split,
                shard.index,
                start,
                facts,
                examples,
                files=files[shard.split],
                directory=os.path.join(uri, _STAGING),
            )
            yield staged, Survey((), {shard.split: totals_of(facts, image_set.info.image_shape)})
            start += len(examples)
            counter.inc(len(examples))
    except DataError as problem:
        yield None, Survey((str(problem),), {})


def read_parts(image_set: ImageSet, shard: Shard) -> Iterator[tuple[np.ndarray, list[bytes]]]:
    """Yields successive rows of a shard, some 64 MiB at once: [n] FACTS, n serialized examples.

    A DataError says why the shard cannot be used; some rows may have been yielded before.
    """
    facts: list[np.ndarray] = []
    examples: list[bytes] = []
    num_bytes = 0
    # Nothing asks for the whole images that a model learns from: decoding them takes most of the
    # time of a run on photos. A model is judged by whole ones, as it will be served.
    shrinks = image_set.info.resize and shard.split != TEST
    for rows in _ahead(read_rows(image_set, shard)):
        facts.append(facts_of(rows.pixels, rows.labels, rows.stored, rows.file_hashes))
        if shrinks:
            rows = as_seen(rows)
        some = encode_examples(rows, facts[-1]["pixel_sum"])
        examples += some
        num_bytes += sum(map(len, some))
        if num_bytes >= _BYTES_AT_ONCE:
            yield np.concatenate(facts), examples
            facts, examples, num_bytes = [], [], 0
    if examples:
        yield np.concatenate(facts), examples


def _ahead(batches: Iterator[Rows]) -> Iterator[Rows]:
    """Reads the next batch, with the interpreter's lock mostly released, while one is in use."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


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


def write_file(
    key: FileKey,
    staged: Sequence[Staged | None],
    plan: SplitPlan,
    files: Mapping[str, int],
    uri: str,
) -> Iterator[tuple[int, Part]]:
    """Writes rows in the order of their hashes: the same file from any source, classes mixed.

    Yields the hashes of the rows, by bucket.
    """
    if plan.problems:
        return
    split, number = key
    parts = [part for one in staged if one for part in _part_of(key, one, plan, files)]
    facts = np.concatenate([np.empty(0, ROWS), *(rows for rows, _ in parts)])
    examples = [example for _, some in parts for example in some]
    tails = [whole[16:] for whole in keys_of(facts["example_hash"])]
    name = f"data_tfrecord-{number:05d}-of-{files[split]:05d}.gz"
    writing = os.path.join(uri, _STAGING, f"{split}-{name}-{uuid.uuid4().hex}")
    options = tf.io.TFRecordOptions("GZIP", compression_level=_GZIP_LEVEL)
    with tf.io.TFRecordWriter(writing, options) as writer:
        keys = list(zip(tails, examples, keys_of(facts["file_hash"]), strict=True))
        order = sorted(range(len(keys)), key=keys.__getitem__)
        for row in order:
            writer.write(examples[row])
    # A runner may try a step twice: only a whole file ever bears the name.
    tf.io.gfile.rename(writing, os.path.join(uri, _directory(split), name), overwrite=True)
    if facts["file_hash"].any():
        file_hashes.write(uri, split, number, facts["file_hash"][order])
    yield from parts_of(split, facts)


def _part_of(
    key: FileKey, staged: Staged, plan: SplitPlan, files: Mapping[str, int]
) -> Iterator[tuple[npt.NDArray[np.void], list[bytes]]]:
    """Yields those of some staged rows that belong to an output file, and their examples."""
    split, number = key
    if staged.split != (TEST if split == TEST else TRAIN):
        return
    if split == EVAL:
        rows = staged.own(plan.eval_rows)
        rows = rows[file_numbers(rows["example_hash"], files[EVAL]) == number]
        yield rows, staged.examples(rows)
        return
    rows, examples = staged.of_file(number)
    if split == TRAIN:
        is_eval = np.isin(rows["row"], staged.own(plan.eval_rows)["row"])
        examples = [examples[row] for row in np.flatnonzero(~is_eval)]
        rows = rows[~is_eval]
    yield rows, examples


def _write_report(
    plan: SplitPlan, buckets: Sequence[Bucket], image_set: ImageSet, uri: str
) -> None:
    """Leaves the outcome where the driver of the pipeline finds it, on any runner."""
    summary = None if plan.problems else _examples_summary(plan, buckets, image_set).to_json()
    with tf.io.gfile.GFile(os.path.join(uri, _REPORT), "w") as file:
        file.write(json.dumps({"problems": plan.problems, "summary": summary}))


def _examples_summary(
    plan: SplitPlan, buckets: Sequence[Bucket], image_set: ImageSet
) -> ExamplesSummary:
    info, totals = image_set.info, plan.totals
    tells: tuple[float, ...] = ()
    if info.resize:
        judged = np.concatenate([totals[EVAL].groups, totals[TEST].groups])
        tells = size_tells(totals[TRAIN].groups, judged, info.num_classes)
    return ExamplesSummary(
        name=info.name,
        fingerprint=info.fingerprint,
        image_shape=info.image_shape,
        class_names=info.class_names,
        splits={
            split: split_summary(info, images, digest(buckets, split))
            for split, images in totals.items()
        },
        overlap=overlap(buckets),
        resize=info.resize,
        extra=info.extra,
        skipped=image_set.skipped,
        ignored=image_set.ignored,
        size_tells=tells,
    )


def finish(uri: str) -> ExamplesSummary:
    """Removes temporary files and returns the summary; raises DataError if nothing was written."""
    with tf.io.gfile.GFile(os.path.join(uri, _REPORT)) as file:
        report = json.load(file)
    if report["summary"] is None:
        first, *others = report["problems"]
        raise DataError(first + (f" (and {len(others)} more)" if others else ""))
    tf.io.gfile.rmtree(os.path.join(uri, _STAGING))
    return ExamplesSummary.from_json(report["summary"])
