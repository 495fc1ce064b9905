import dataclasses
import os
import re
from pathlib import Path

from components.gate.evidence import Tally
from components.pictures import DRAWN, LABEL_ERRORS, LOST, NAMED, NEAR_DUPLICATES, WRONG, Pictures
from pipeline.report import gallery, render
from tests.pipeline.report.runs import FAILED_RUN, FIRST_RUN, RELEASED_RUN, SEEN_RUN, picture


def titles(sections: list[gallery.Section]) -> list[str]:
    return [section.title for section in sections]


def test_what_was_lost_and_gained_stands_before_all_that_is_wrong() -> None:
    sections = list(gallery.mistakes(SEEN_RUN))
    assert titles(sections) == [
        "Lost: 12 test images",
        "Gained: 8 test images",
        "Wrong: 30 test images",
    ]
    assert [section.compares for section in sections] == [True, True, False]
    assert sections[0].note.startswith("8 of the 12 that only the served model predicts right, ")
    assert sections[1].note.startswith("All 8 ")


def test_one_image_is_no_images() -> None:
    evidence = dataclasses.replace(SEEN_RUN.evidence, overall=Tally(1000, 999, gained=1, lost=0))
    _, *seen = gallery.mistakes(dataclasses.replace(SEEN_RUN, evidence=evidence))
    assert titles(seen) == ["Gained: 1 test image", "Wrong: 1 test image"]
    assert seen[1].note.startswith("The one that this model predicts wrong, the ")


def test_the_cap_and_the_number_are_said() -> None:
    (*_, wrong) = gallery.mistakes(SEEN_RUN)
    assert len(wrong.pictures) == 12
    assert wrong.note.startswith("12 of the 30 that this model predicts wrong")
    train, test = gallery.suspects(SEEN_RUN)
    assert train.note.startswith("Of 4,000 examples, each predicted by a quick classifier")
    assert train.note.endswith("Shown: 20 of the 100 that the data gate lists.")
    assert test.note.endswith("Shown: 12 of the 30.")
    assert (train.compares, test.compares) == (False, False)


def test_a_page_has_at_most_60_pictures_with_a_text_each() -> None:
    html = render(SEEN_RUN)
    pictures = re.findall(r'<img src="data:image/png;base64,[\w+/=]+" alt="(.*?)">', html)
    assert len(pictures) == html.count("<img") == DRAWN == 60
    assert set(pictures) == {"Example labelled &lt;dog&gt;, taken for cat"}
    assert len(re.findall(r'<svg role="img" aria-label="[^"]{20,}"', html)) == html.count("<svg")
    assert html.count("<svg") == 4  # two learning curves, calibration, classes and slices
    assert len(html) < 300_000


def test_the_files_of_pictures_are_named() -> None:
    shown = dataclasses.replace(picture(1), files=("a", "a", "b", "c"))
    run = dataclasses.replace(
        RELEASED_RUN,
        mistakes=Pictures({LOST: (shown,)}, examined=1),
        suspects=Pictures({"data.new": (dataclasses.replace(shown, files=("d",)),)}, examined=0),
    )
    assert gallery.files(run) == {"a", "b", "c", "d"}
    assert gallery.files(RELEASED_RUN) == set()
    assert gallery.names(shown, {"a": ["1", "2", "3"]}) == ["1 = 2 = 3"]
    paths = {"a": ["<cat>/1  .png"], "c": ["1.png", "2.png", "3.png", "4.png", "5.png"]}
    html = render(run, paths)
    assert re.findall(r'<br><span class="file">(.*png.*)</span>', html) == [
        "&lt;cat&gt;/1  .png",
        "1.png = 2.png = 3.png (and 2 more)",
    ]


def test_without_pictures_there_are_no_sections() -> None:
    for run in (RELEASED_RUN, FIRST_RUN, FAILED_RUN):
        assert not [*gallery.mistakes(run), *gallery.suspects(run)]
    empty = Pictures({WRONG: (), LABEL_ERRORS: ()}, examined=0)
    run = dataclasses.replace(RELEASED_RUN, mistakes=empty, suspects=empty)
    assert not [*gallery.mistakes(run), *gallery.suspects(run)]
    assert "Calibration" not in render(run)


def test_label_errors_of_refused_data_stand_on_the_first_page() -> None:
    refused = dataclasses.replace(SEEN_RUN, mistakes=None, evidence=None, history=(), tuning=None)
    html = render(refused)
    assert html.count("<img") == DRAWN
    assert html.index("Likely label errors in train") < html.index("<h2>Time")
    assert "Likely label errors in test" not in html


def test_what_is_not_drawn_is_listed_with_its_files() -> None:
    pairs = [
        dataclasses.replace(
            picture(1), png=picture(1).png if row < DRAWN else "", files=(f"{row}",)
        )
        for row in range(DRAWN + 2)
    ]
    paths = {f"{row}": [f"{row}.png", *["copy.png"] * 4] for row in range(DRAWN + 2)}

    def rendered(count: int) -> str:
        shown = Pictures({NEAR_DUPLICATES: tuple(pairs[:count])}, examined=0)
        return render(dataclasses.replace(FAILED_RUN, suspects=shown), paths)

    html = rendered(DRAWN + 2)
    assert html.count("<img") == DRAWN
    assert "Shown: 60 of the 62." in html
    assert "<summary>List of 62</summary>" in html
    listed = re.findall(r'<td class="file">(.*?)</td>', html)
    assert listed == [f"{row}.png{' = copy.png' * 4}" for row in range(DRAWN + 2)]
    assert "<details>" not in rendered(DRAWN)


def test_where_so_many_are_named_there_may_be_more() -> None:
    shown = Pictures({"data.grey": (picture(1),) * NAMED}, examined=0)
    (section,) = gallery.suspects(dataclasses.replace(FAILED_RUN, suspects=shown))
    assert section.note == "Shown: 60 of the 10,000 or more for which data.grey failed."


def test_of_refused_data_all_pairs_are_shown() -> None:
    pairs = Pictures({NEAR_DUPLICATES: (picture(1),) * 70}, examined=0)
    few, many = (
        [len(section.pictures) for section in gallery.suspects(run) if "also in" in section.title]
        for run in (
            dataclasses.replace(SEEN_RUN, suspects=pairs),
            dataclasses.replace(SEEN_RUN, suspects=pairs, mistakes=None),
        )
    )
    assert (few, many) == ([20], [60])


def test_what_a_check_of_the_data_blames_is_shown_with_its_name() -> None:
    one = (dataclasses.replace(picture(0), looks_like=""),)
    many = one * (DRAWN + 1)
    names = {"data.train.mean_intensity": many[1:], "data.grey": many, "data.eval.sizes": ()}
    names |= {"data.sizes": one, "data.duplicates": one, "data.new": many}
    shown = Pictures(names, examined=0)
    sections = gallery.suspects(dataclasses.replace(RELEASED_RUN, suspects=shown))
    assert [(section.title, section.note) for section in sections] == [
        ("Blank or inverted images", "Shown: all 60 for which data.train.mean_intensity failed."),
        ("Grey images among coloured ones", "Shown: 60 of the 61 for which data.grey failed."),
        ("Images of unusual sizes", "Shown: the one for which data.sizes failed."),
        (
            "Test images that occur more than once",
            "Shown: the one for which data.duplicates failed.",
        ),
    ]
    assert gallery.described(one[0]) == "Example labelled <dog>"


def test_a_prediction_without_numbers_is_said_so() -> None:
    broken = dataclasses.replace(picture(1), candidate=())
    shown = Pictures({LOST: (broken,)}, examined=1)
    html = render(dataclasses.replace(RELEASED_RUN, mistakes=shown))
    assert html.count("no finite numbers") == 1


def test_the_trials_are_listed_with_their_picture(tmp_path: Path) -> None:
    plot = tmp_path / "trials.png"
    plot.write_bytes(b"PNG")
    html = render(dataclasses.replace(SEEN_RUN, tuning_plot=str(plot)))
    assert "Search: 1 trial<" in html
    assert 'src="data:image/png;base64,UE5H"' in html
    os.truncate(plot, (1 << 20) + 1)
    for too_large_or_gone in (str(plot), str(tmp_path / "gone.png"), None):
        run = dataclasses.replace(SEEN_RUN, tuning_plot=too_large_or_gone)
        assert gallery.trials_picture(run) == ""
