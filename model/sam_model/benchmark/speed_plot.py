"""Bar charts of the benchmarks on a logarithmic scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from sam_model.benchmark.model_speed import ModelSpeed
from sam_model.benchmark.runtime_comparison import RuntimeComparison

WIDTH, LEFT, RIGHT, MARGIN = 1260, 230, 250, 28  # pixels; names on the left, columns of text on the right
ROW, BAR, HEAD, FOOT, COLUMN = 62, 18, 92, 64, 95
PAPER, INK, PALE, LINE = (250, 250, 248), (32, 34, 38), (120, 124, 130), (222, 222, 218)
PROMPT, EVERYTHING = (38, 151, 255), (255, 138, 38)
AUTHORS, TORCH, FASTEST = (150, 154, 162), EVERYTHING, PROMPT

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ChartRow:
    """A name, bars below each other, and texts beside them."""

    name: str
    times_ms: Sequence[float | None]  # of each colour of the legend; no bar for None
    texts: Sequence[str]  # of each column


def draw_speeds(rows: Sequence[ModelSpeed], subtitle: str, footnote: str = "") -> PIL.Image.Image:
    """Draw bars for one prompt and for everything, with file size and number of parameters beside them."""
    chart = [
        ChartRow(
            row.name + ("*" if row.is_seeded else ""),
            [row.prompt_ms, row.everything_ms],
            [f"{'' if row.is_size_exact else '~ '}{row.size_mb:.0f} MB", f"{row.parameters / 1e6:.1f} M"],
        )
        for row in rows
    ]
    legend = {"one prompt, new image": PROMPT, "everything": EVERYTHING}
    return _draw_chart(chart, legend, ["file", "parameters"], subtitle, footnote)


def draw_runtimes(found: RuntimeComparison, subtitle: str, footnote: str = "") -> PIL.Image.Image:
    """Draw bars for the authors' code, if it was measured, for PyTorch and for the fastest runtime.

    Beside them is how many times as fast as the first one the fastest runtime is, by the clock and by processor time.
    """
    legend = {"authors' code": AUTHORS} if found.has_authors else {}
    legend |= {"PyTorch": TORCH, found.runtime: FASTEST}
    sides = [*(["authors"] if found.has_authors else []), "torch", "auto"]
    chart = [
        ChartRow(
            name,
            [row[side]["median_ms"] for side in sides],
            [f"{row['auto']['ratio']:.1f} x", f"{row['auto']['cpu_ratio']:.1f} x"],
        )
        for name, row in found.rows.items()
    ]
    return _draw_chart(chart, legend, ["times as fast", "processor"], subtitle, footnote)


def duration_words(milliseconds: float) -> str:
    """Return a duration for people: 3.2 ms, 45 ms, 1.8 s, 94 s."""
    value, unit = (milliseconds, "ms") if milliseconds < 1000 else (milliseconds / 1000, "s")
    return f"{value:.1f} {unit}" if value < 10 and value != int(value) else f"{value:.0f} {unit}"


def _draw_chart(
    rows: Sequence[ChartRow], legend: dict[str, Colour], columns: Sequence[str], subtitle: str, footnote: str
) -> PIL.Image.Image:
    times = [time for row in rows for time in row.times_ms if time]
    low = math.floor(math.log10(min(times, default=1.0)))
    high = max(low + 1, math.ceil(math.log10(max(times, default=10.0))))
    canvas = PIL.Image.new("RGB", (WIDTH, HEAD + ROW * len(rows) + FOOT), PAPER)
    draw = PIL.ImageDraw.Draw(canvas)
    draw.text((MARGIN, 20), "Time per image", INK, _font(22))
    draw.text((MARGIN, 50), subtitle, PALE, _font(13))
    _draw_legend(draw, legend)
    bottom = HEAD + ROW * len(rows)
    scale = (WIDTH - LEFT - RIGHT) / (high - low)
    for power in range(low, high + 1):
        x = LEFT + (power - low) * scale
        draw.line((x, HEAD, x, bottom), LINE)
        draw.text((x, bottom + 6), duration_words(10.0**power), PALE, _font(12), anchor="mt")
    places = [WIDTH - MARGIN - COLUMN * place for place in range(len(columns))][::-1]  # right ends of the columns
    for number, row in enumerate(rows):
        y = HEAD + ROW * number + ROW // 2
        draw.text((LEFT - 14, y), row.name, INK, _font(15), anchor="rm")
        shown = [(time, colour) for time, colour in zip(row.times_ms, legend.values(), strict=True) if time]
        for index, (time, colour) in enumerate(shown):
            top = y - len(shown) * BAR / 2 + index * BAR
            end = LEFT + max(3.0, (math.log10(time) - low) * scale)
            draw.rounded_rectangle((LEFT, top + 1, end, top + BAR - 2), 3, fill=colour)
            draw.text((end + 7, top + BAR / 2), duration_words(time), INK, _font(12), anchor="lm")
        for x, text in zip(places, row.texts, strict=True):
            draw.text((x, y), text, INK, _font(13), anchor="rm")
    for x, name in zip(places, columns, strict=True):
        draw.text((x, HEAD - 10), name, PALE, _font(12), anchor="rm")
    draw.text((MARGIN, bottom + 38), footnote, PALE, _font(12))
    return canvas


def _draw_legend(draw: PIL.ImageDraw.ImageDraw, legend: dict[str, Colour]) -> None:
    x = WIDTH - MARGIN
    for words, colour in reversed(legend.items()):
        x -= round(draw.textlength(words, _font(14)))
        draw.text((x, 31), words, INK, _font(14), anchor="lm")
        x -= 19
        draw.rounded_rectangle((x, 25, x + 12, 37), 3, fill=colour)
        x -= 18


def _font(size: int) -> "PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont":
    return PIL.ImageFont.load_default(size)
