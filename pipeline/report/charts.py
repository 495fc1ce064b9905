"""Pictures of the report, as SVG that stands inside of a page and takes its colours from it.

matplotlib draws in colours of no meaning, which become CSS variables of the page, so that one
picture fits light and dark. Its text stays text.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from components.pictures import Bin
from trainer.host.text import printable

# Stand-ins, and the variables of the page that replace them.
_TEXT, _LINE, _FIRST, _SECOND, _BAD = "#010101", "#010102", "#010103", "#010104", "#010105"
_VARIABLES = {
    _TEXT: "var(--text)",
    _LINE: "var(--line)",
    _FIRST: "var(--first)",
    _SECOND: "var(--second)",
    _BAD: "var(--bad)",
}
_STYLE: dict[Any, Any] = {  # of TFX 1.21's matplotlib the names are literals
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "legend.frameon": False,
}
_WIDTH = 4.6  # inches
_ROW = 0.19  # inches, of a horizontal row

_MARKS = {
    "released": ("o", _FIRST),
    "unchanged": ("o", _FIRST),
    "held": ("D", _SECOND),
    "refused": ("x", _BAD),
}
_FILLS = {"unchanged": "none"}

Point = tuple[str, float, str, str]  # date, accuracy, outcome, version or ""
Group = tuple[str, float, float, float, str]  # label, low, accuracy, high, verdict


def learning_curve(history: Sequence[Mapping[str, float]], name: str) -> str:
    """The "loss" or the "accuracy" on train and eval by epoch."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 2.6), layout="constrained")
        axes = figure.add_subplot()
        numbers = [each["number"] for each in history]
        for key, mark, colour, split in (
            (name, "o-", _FIRST, "train"),
            (f"eval_{name}", "s--", _SECOND, "eval"),
        ):
            values = [each[key] for each in history]
            axes.plot(numbers, values, mark, color=colour, markersize=3, label=split)
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss, nats" if name == "loss" else name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        last = history[-1]
        return _svg(
            figure,
            f"Learning curve of the {name} over {len(history)} epochs: it ends at "
            f"{last[name]:.4f} on train and at {last[f'eval_{name}']:.4f} on eval",
        )


def reliability(bins: Sequence[Bin], error: float) -> str:
    """Accuracy against confidence; the area of a point grows with the examples in its bin."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], "--", color=_SECOND, linewidth=1)
        confidences = [each.confidence for each in bins]
        accuracies = [each.accuracy for each in bins]
        axes.vlines(confidences, confidences, accuracies, color=_BAD, linewidth=1.2)
        rows = sum(each.rows for each in bins)
        areas = [16 + 150 * (each.rows / rows) ** 0.5 for each in bins]
        axes.scatter(confidences, accuracies, s=areas, color=_FIRST, alpha=0.8, zorder=3)
        axes.set_xlim(-0.02, 1.05)
        axes.set_ylim(-0.02, 1.05)
        axes.set_xlabel("confidence: the highest probability")
        axes.set_ylabel("accuracy")
        return _svg(
            figure,
            f"Reliability diagram by bins of confidence; expected calibration error {error:.4f}",
        )


def intervals(groups: Sequence[Group], floor: float | None) -> str:
    """Accuracies with their intervals, one row each; the dashed line is the floor of each."""
    with mpl.rc_context(_STYLE):
        height = 0.75 + _ROW * len(groups)
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        for row, (_, low, accuracy, high, verdict) in enumerate(groups):
            colour, mark = (_BAD, "X") if verdict == "failed" else (_FIRST, "o")
            axes.plot([low, high], [row, row], color=colour, linewidth=2, alpha=0.75)
            axes.plot([accuracy], [row], mark, color=colour, markersize=4)
        if floor is not None:
            axes.axvline(floor, color=_SECOND, linestyle="--", linewidth=1)
        axes.set_yticks(range(len(groups)), [_short(label) for label, *_ in groups])
        axes.set_ylim(len(groups) - 0.4, -0.6)
        axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=" %"))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("accuracy with its 95 % interval")
        worst = min(groups, key=lambda each: each[2])
        return _svg(
            figure,
            f"Accuracy of {len(groups)} classes and slices with their 95 % intervals; the lowest "
            f"is {worst[0]} with {worst[2]:.4f}",
        )


def accuracy_over_time(points: Sequence[Point], described: str) -> str:
    """Accuracies of runs, the oldest first; `described` is for those who do not see the picture."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(2 * _WIDTH, 2.4), layout="constrained")
        axes = figure.add_subplot()
        for number, (_, accuracy, kind, version) in enumerate(points):
            mark, colour = _MARKS.get(kind, _MARKS["refused"])
            axes.plot([number], [accuracy], mark, color=colour, fillstyle=_FILLS.get(kind, "full"))
            if version and kind in ("released", "held"):  # a held one that was approved since
                axes.annotate(
                    version, (number, accuracy), (0, 6), textcoords="offset points", ha="center"
                )
        accuracies = [accuracy for _, accuracy, *_ in points]
        room = 0.2 * (max(accuracies) - min(accuracies)) + 0.002
        low, high = min(accuracies) - room, max(accuracies) + 1.5 * room
        ticks = MaxNLocator(5).tick_values(low, high)
        # The room above 100 % is for the number of a version.
        axes.set_yticks([tick for tick in ticks if low <= tick < min(high, 1 + 1e-9)])
        axes.set_ylim(low, high)
        axes.set_xlim(-0.6, len(points) - 0.4)
        step = -(-len(points) // 8)
        axes.set_xticks(range(0, len(points), step), [date for date, *_ in points[::step]])
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=" %"))
        axes.grid(visible=False, axis="x")
        axes.set_ylabel("accuracy")
        return _svg(figure, described)


def _short(label: str) -> str:
    """A label that leaves room for the picture, shortened before its end, which may tell it from
    others.
    """
    shown = printable(label)
    return shown if len(shown) <= 28 else f"{shown[:23]}…{shown[-4:]}"


def _svg(figure: Figure, described: str) -> str:
    """Returns the figure as an element of HTML, whose ids and namespaces are left out."""
    file = io.StringIO()
    # Ids follow from what they name and from the salt, and a page has several figures.
    with warnings.catch_warnings(), mpl.rc_context({"svg.hashsalt": described}):
        # The browser has fonts of its own for what matplotlib's lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    drawn = file.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<(metadata|style).*?</\1>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r' xmlns(:\w+)?="[^"]*"', "", drawn)
    drawn = re.sub(r'<g id="[^"]*"', "<g", drawn)
    drawn = re.sub(r" font-family: [^;]*;", "", drawn)
    drawn = re.sub(r"\n\s*", "\n", drawn).replace("xlink:href", "href")
    for stand_in, variable in _VARIABLES.items():
        drawn = drawn.replace(stand_in, variable)
    label = html.escape(printable(described))
    return drawn.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
