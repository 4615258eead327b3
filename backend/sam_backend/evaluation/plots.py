"""Plots of a report as SVG texts; colours come from the page's style sheet."""

from collections.abc import Sequence

from sam_backend.evaluation.calibration_fit import Reliability
from sam_backend.evaluation.label_report import LabelReport

WIDTH, HEIGHT = 320, 230
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 12, 34
Point = tuple[float, float]  # 0..1, y upwards


def curve_plot(report: LabelReport) -> str:
    """Return precision and recall over the score threshold."""
    lines = [
        (name, [(point.threshold, value) for point in report.curve if (value := getattr(point, name)) is not None])
        for name in ("precision", "recall")
    ]
    drawn = "".join(_line(points, name) for name, points in lines)
    if report.advice.threshold is not None:
        x = _x(report.advice.threshold)
        drawn += f'<line class="advice" x1="{x:.1f}" x2="{x:.1f}" y1="{_y(0):.1f}" y2="{_y(1):.1f}"/>'
    legend = "".join(
        f'<text class="name {name}" x="{LEFT + 8}" y="{_y(0) - 22 + 14 * row:.1f}">{name}</text>'
        for row, name in enumerate(("precision", "recall"))
    )
    return _plot("minimum score", "", drawn + legend)


def reliability_plot(found: Reliability) -> str:
    """Return the share of good regions over the score, with the number of regions as the size of the dots."""
    total = max(1, sum(found.counts))
    drawn = f'<line class="ideal" x1="{_x(0):.1f}" y1="{_y(0):.1f}" x2="{_x(1):.1f}" y2="{_y(1):.1f}"/>'
    drawn += _line(list(zip(found.scores, found.shares, strict=True)), "precision")
    for score, share, count in zip(found.scores, found.shares, found.counts, strict=True):
        radius = 2.5 + 9 * (count / total) ** 0.5
        drawn += (
            f'<circle class="dot" cx="{_x(score):.1f}" cy="{_y(share):.1f}" r="{radius:.1f}">'
            f"<title>score {score:.2f}: {share:.0%} of {count} regions are good</title></circle>"
        )
    return _plot("score", "share of good regions", drawn)


def _plot(x_name: str, y_name: str, drawn: str) -> str:
    grid = ""
    for step in range(0, 11, 2):
        value = step / 10
        grid += f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_y(value):.1f}" y2="{_y(value):.1f}"/>'
        grid += f'<text x="{LEFT - 6}" y="{_y(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
        grid += f'<text x="{_x(value):.1f}" y="{HEIGHT - 18}" text-anchor="middle">{value:g}</text>'
    names = f'<text x="{_x(0.5):.1f}" y="{HEIGHT - 3}" text-anchor="middle">{x_name}</text>'
    if y_name:
        middle = _y(0.5)
        names += f'<text transform="translate(9 {middle:.1f}) rotate(-90)" text-anchor="middle">{y_name}</text>'
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{y_name or "precision and recall"} by {x_name}">{grid}{names}{drawn}</svg>'
    )


def _line(points: Sequence[Point], name: str) -> str:
    places = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    return f'<polyline class="{name}" points="{places}"/>'


def _x(value: float) -> float:
    return LEFT + value * (WIDTH - LEFT - RIGHT)


def _y(value: float) -> float:
    return HEIGHT - BOTTOM - value * (HEIGHT - TOP - BOTTOM)
