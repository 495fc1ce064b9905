"""Draws the operating curve."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from components.gate.policy import Policy
from components.gate.simulation import Point, Setting
from trainer.host.text import percent

_CURVE, _TOO_BAD = "tab:blue", "tab:red"
_MOST_LABELS = 8  # more than that would cover each other


def draw(
    points: Sequence[Point], setting: Setting, policy: Policy, name: str, *, decision: int = 1
) -> bytes:
    """Returns a PNG of the probability of a release against the true drop in accuracy.

    Args:
      points: at least one, by rising drop.
      name: of the data set whose policy that is.
      decision: number of the simulated decision on the test split, from 1.
    """
    # Without pyplot a figure needs no display, and leaves no global state behind.
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    _draw_curve(axes, points)
    _draw_bound(axes, policy.max_drop)
    figure.suptitle(
        f"{setting.rows:,} test images, floor {policy.floor:g}, discordance "
        f"{setting.discordance:g}",
        fontsize="x-large",
    )
    axes.set_title(
        f"policy of {name}, {setting.num_classes:,} classes, served accuracy "
        f"{setting.accuracy:g}, decision {decision:,} on the test set",
        fontsize="medium",
    )
    axes.set_xlabel("true drop in accuracy from the served model, percentage points")
    axes.set_ylabel("probability of release")
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, symbol=" %"))
    axes.set_ylim(-0.02, 1.09)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _draw_curve(axes: Axes, points: Sequence[Point]) -> None:
    drops = [100 * point.drop for point in points]
    released = [point.release for point in points]
    low, high = zip(*(point.release_interval for point in points), strict=True)
    label = f"released, of {points[0].simulations:,} simulations each (band: 95%)"
    axes.plot(drops, released, "o-", color=_CURVE, markersize=5, linewidth=1, label=label)
    axes.fill_between(drops, low, high, color=_CURVE, alpha=0.3, linewidth=0)
    axes.margins(x=0.08)  # room for the last label
    if len(points) <= _MOST_LABELS:
        for drop, share in zip(drops, released, strict=True):
            axes.annotate(
                percent(share, 1), (drop, share), (7, 5), textcoords="offset points", color=_CURVE
            )


def _draw_bound(axes: Axes, max_drop: float) -> None:
    left, right = axes.get_xlim()
    label = f"drop above gate.max_drop, {100 * max_drop:g} points"
    axes.axvspan(min(100 * max_drop, right), right, color=_TOO_BAD, alpha=0.08, label=label)
    axes.set_xlim(left, right)
