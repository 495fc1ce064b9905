from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import fill

from components.example_gen.data_config import DataConfig
from components.example_gen.data_error import DataError
from components.example_gen.image_set import ImageSet
from components.example_gen.opening import open_dataset
from components.example_gen.table import list_table
from tests.refusals import refusal_of
from tests.trainer.image_files import declaring

FITTED = DataConfig(image_size="8", test_fraction=0.3)


def opened(path: Path, data: DataConfig = FITTED) -> ImageSet:
    return open_dataset(f"csv:{path}", data, data_dir=None)


def refusal(path: Path) -> str:
    return refusal_of(DataError, opened, path)


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    """40 images in one folder, and the rows of a table beside it."""
    paths = fill(tmp_path / "images", 40)
    return pd.DataFrame(
        {
            "path": [str(path.relative_to(tmp_path)) for path in paths],
            "label": [("cat", "dog")[number % 2] for number in range(40)],
        }
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "pets.csv"


def test_paths_and_labels_are_read(frame: pd.DataFrame, table: Path) -> None:
    frame.to_csv(table, index=False)
    image_set = opened(table)
    assert image_set.info.name.startswith("csv_pets_")
    assert image_set.info.class_names == ("cat", "dog")
    rows = [each for shard in image_set.shards for each in image_set.read(shard)]
    found = {
        (image, image_set.info.class_names[label])
        for part in rows
        for image, label in zip(part.images, part.labels, strict=True)
    }
    assert found == {
        ((table.parent / path).read_bytes(), label)
        for path, label in zip(frame["path"], frame["label"], strict=True)
    }


def test_parquet_is_the_same_data_set(frame: pd.DataFrame, table: Path) -> None:
    frame["age"] = np.arange(40)
    frame.to_csv(table, index=False)
    from_csv = opened(table).info
    frame.to_parquet(table)
    from_parquet = opened(table).info
    assert from_parquet.fingerprint == from_csv.fingerprint
    assert from_parquet.extra == {"age": "int64"}


def test_a_column_split_gives_the_splits(frame: pd.DataFrame, table: Path) -> None:
    frame["split"] = ["train"] * 30 + ["test"] * 10
    frame.to_csv(table, index=False)
    image_set = opened(table)
    assert (image_set.rows("train"), image_set.rows("test")) == (30, 10)


def test_labels_of_digits_stay_texts(frame: pd.DataFrame, table: Path) -> None:
    frame["label"] = ["007", "10"] * 20
    frame.to_csv(table, index=False)
    assert opened(table).info.class_names == ("007", "10")


def test_further_columns_are_features_of_their_rows(frame: pd.DataFrame, table: Path) -> None:
    frame["camera"] = [f"cam{number % 3}" for number in range(40)]
    frame["age"] = range(40)
    frame["weight"] = np.arange(40) / 4
    frame["split"] = ["test", "test", *["train"] * 38]
    frame.to_csv(table)  # with pandas' index, whose column has no name
    image_set = opened(table)
    assert image_set.info.extra == {"age": "int64", "camera": "str", "weight": "float32"}
    (shard,) = image_set.shards_of("train")
    (rows,) = image_set.read(shard)
    np.testing.assert_array_equal(rows.extra["age"], np.arange(2, 40))
    np.testing.assert_array_equal(rows.extra["weight"], np.arange(2, 40, dtype=np.float32) / 4)
    assert list(rows.extra["camera"][:3]) == ["cam2", "cam0", "cam1"]


def test_a_changed_feature_changes_the_fingerprint(frame: pd.DataFrame, table: Path) -> None:
    frame["age"] = range(40)
    frame.to_csv(table, index=False)
    before = opened(table).info.fingerprint
    frame.loc[7, "age"] = 99
    frame.to_csv(table, index=False)
    assert opened(table).info.fingerprint != before


def test_a_number_that_turns_up_late_as_text_makes_the_column_text(
    frame: pd.DataFrame, table: Path
) -> None:
    frame["code"] = ["1"] * 39 + ["x"]
    frame.to_csv(table, index=False)
    assert opened(table).info.extra == {"code": "str"}


@pytest.mark.parametrize(
    ("values", "dtype", "read"),
    [
        (["1", " 2 "], np.int64, [1, 2]),
        (["1", "2.5"], np.float32, [1, 2.5]),
        (["true", "False"], np.int64, [1, 0]),
        (["9" * 20, "1"], object, ["9" * 20, "1"]),
        (["1", "-" + "9" * 20], object, ["1", "-" + "9" * 20]),
        (["9" * 20, "1.5"], np.float32, [1e20, 1.5]),
        (["1.5", "9" * 20], np.float32, [1.5, 1e20]),
        (["007", "12"], object, ["007", "12"]),
        (["+49", "1"], object, ["+49", "1"]),
        (["-0.5", "0"], np.float32, [-0.5, 0]),
        ([" Cafe\u0301", "x "], object, ["Caf\u00e9", "x"]),
        (["1_0", "2"], object, ["1_0", "2"]),
        (["NA", "x"], object, ["NA", "x"]),
    ],
)
def test_a_feature_in_csv_is_what_all_of_its_texts_say(
    frame: pd.DataFrame, table: Path, values: list[str], dtype: type, read: list
) -> None:
    frame.assign(code=values * 20).to_csv(table, index=False)
    code = list_table(table).extra["code"]
    assert code.dtype == dtype
    np.testing.assert_array_equal(code[:2], np.array(read, dtype))


def test_a_feature_in_parquet_is_of_the_type_of_its_column(
    frame: pd.DataFrame, table: Path
) -> None:
    given = {"code": ["007", "8"] * 20, "flag": [True, False] * 20, "small": np.uint8([1, 2] * 20)}
    frame.assign(label=given["flag"], **given).to_parquet(table)
    listing = list_table(table)
    assert listing.class_names == ("false", "true")
    assert listing.extra["code"].tolist()[:2] == ["007", "8"]
    assert listing.extra["flag"].dtype == listing.extra["small"].dtype == np.int64


def test_times_with_a_zone_and_durations_in_parquet_are_texts(
    frame: pd.DataFrame, table: Path
) -> None:
    taken = pd.to_datetime(["2026-01-01 01:00"] * 40).tz_localize("Europe/Berlin")
    lasted = pd.to_timedelta([1, 90] * 20, unit="s")
    frame.assign(taken=taken, lasted=lasted).to_parquet(table)
    extra = list_table(table).extra
    assert extra["taken"].tolist()[0].startswith("2026-01-01 00:00:00")
    assert extra["lasted"].tolist()[:2] == ["0:00:01", "0:01:30"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([True] * 39 + [None], "row 40 has no 'odd'"),
        (np.uint64([1] * 39 + [1 << 63]), "row 40 has 9223372036854775808 as 'odd'"),
        ([1.0] * 38 + [np.inf, np.nan], "row 40 has no 'odd'"),
        ([1.0] * 38 + [1e39, 1], "row 39 has 1e+39 as 'odd'"),
    ],
)
def test_the_row_that_is_no_feature_is_named(
    frame: pd.DataFrame, table: Path, values: list, said: str
) -> None:
    frame.assign(odd=values).to_parquet(table)
    assert said in refusal_of(DataError, list_table, table)


def test_an_absolute_path_is_told_as_it_is_to_be_written(frame: pd.DataFrame, table: Path) -> None:
    for folder, remedy in (
        (table.parent, f"write '{frame.path[0]}'"),
        ("/etc", "move the table to"),
    ):
        frame.assign(path=[f"{folder}/{path}" for path in frame.path]).to_csv(table, index=False)
        assert remedy in refusal(table)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("label", ["cat"] * 39 + [" "], "row 40 has no label, expected one in each row"),
        ("label", ["cat"] * 40, "the column 'label' names one class, 'cat', expected two or more"),
        ("path", ["../x.png"] * 40, "row 1 has the path '../x.png', expected one below"),
        ("path", ["/etc/x.png"] * 40, "row 1 has the path '/etc/x.png', expected one below"),
        ("path", ["a/../../x.png"] * 40, "row 1 has the path 'a/../../x.png', expected one below"),
        ("path", ["a.png"] * 40, "40 images cannot be read: a.png (No such file or directory)"),
        ("split", ["train"] * 39 + ["val"], "row 40 has the split 'val', expected train or test"),
        ("split", ["train"] * 39 + [""], "row 40 has no split"),
        ("split", ["train"] * 40, "the test split has no image of class 'cat'"),
        ("width", range(40), "the column 'width' cannot be a feature"),
        ("a b", range(40), "the column 'a b' cannot be a feature"),
        (
            "age",
            [1.5] * 39 + [float("inf")],
            "row 40 has inf as 'age', expected a finite number of",
        ),
        ("age", [1.5] * 39 + [1e39], "row 40 has 1e+39 as 'age', expected a finite number of 32"),
        ("place", ["a"] * 39 + [None], "row 40 has no 'place', expected a finite number of 32 bit"),
        ("age", [1.5] * 39 + [None], "row 40 has no 'age', expected a finite number of 32 bits, "),
    ],
)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_bad_rows_are_refused(
    frame: pd.DataFrame, table: Path, column: str, values: list, said: str, form: str
) -> None:
    frame[column] = values
    write = frame.to_parquet if form == "parquet" else frame.to_csv
    write(table, index=False)
    assert said in refusal(table)


def test_where_no_image_is_found_the_directory_is_named(frame: pd.DataFrame, table: Path) -> None:
    frame.assign(path=[f"moved/{number}.png" for number in range(40)]).to_csv(table)
    assert refusal(table).endswith(
        f"; and 30 more; expected whole images that this user may read below {table.parent}, where "
        "there is none: name another directory, or write the paths of the table relative to its own"
    )


def test_a_column_of_lists_is_no_feature(frame: pd.DataFrame, table: Path) -> None:
    frame.assign(tags=[["a"], ["b", "c"]] * 20).to_parquet(table)
    assert "row 1 has ['a'] as 'tags', expected a finite number of 32 bits, a whole" in (
        refusal(table)
    )


def test_values_of_test_are_known_before_its_images_are_read(
    frame: pd.DataFrame, table: Path
) -> None:
    site = [7, 12] * 20
    frame.assign(site=site, age=[0.5] * 40, split=["train"] * 30 + ["test"] * 10).to_csv(table)
    assert opened(table).test_values == {"site": {"7", "12"}}


def test_a_missing_column_is_named(frame: pd.DataFrame, table: Path) -> None:
    frame.rename(columns={"label": "class"}).to_csv(table, index=False)
    assert "has no column 'label', only 'path', 'class'; expected path and label" in refusal(table)


def test_a_listed_file_must_be_an_image(frame: pd.DataFrame, table: Path) -> None:
    (table.parent / "notes").write_text("no image")
    frame.loc[3, "path"] = "notes"
    frame.to_csv(table, index=False)
    assert "1 image cannot be read: notes (is no PNG, JPEG, WebP, BMP or GIF)" in refusal(table)


def test_an_image_that_decodes_to_gigabytes_is_refused_by_its_header(
    frame: pd.DataFrame, table: Path
) -> None:
    image = table.parent / frame.loc[3, "path"]
    image.write_bytes(declaring(image.read_bytes(), 30_000, 30_000))
    frame.to_csv(table, index=False)
    expected = (
        "(is 30000x30000 pixels, expected at most 89,478,485 in all: scale it down); expected"
    )
    assert f"1 image cannot be read: {frame.loc[3, 'path']} {expected}" in refusal(table)


# test_columns.py has more.
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"path;label\na.png;cat\n", "separates its columns by ';', expected commas"),
        (b"PAR1 and nothing else", "is no Parquet file: "),
    ],
)
def test_what_is_no_table_is_refused(table: Path, content: bytes, said: str) -> None:
    table.write_bytes(content)
    assert said in refusal(table)


def test_a_missing_table_is_refused(table: Path) -> None:
    assert refusal(table) == f"cannot read {table}: No such file or directory; give another file"
    with pytest.raises(DataError, match="dataset is 'csv' without a file, expected csv:FILE"):
        open_dataset("csv:", data_dir=None)
