"""A bar chart of the benchmark on a logarithmic scale."""

import math
from collections.abc import Sequence

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from sam_model.benchmark.model_speed import ModelSpeed

WIDTH, LEFT, RIGHT, MARGIN = 1260, 230, 250, 28  # pixels; names on the left, sizes on the right
ROW, BAR, HEAD, FOOT = 62, 18, 92, 64
PAPER, INK, PALE, LINE = (250, 250, 248), (32, 34, 38), (120, 124, 130), (222, 222, 218)
PROMPT, EVERYTHING = (38, 151, 255), (255, 138, 38)


def draw_speeds(rows: Sequence[ModelSpeed], subtitle: str, footnote: str = "") -> PIL.Image.Image:
    """Draw bars for one prompt and for everything, with file size and number of parameters beside them."""
    times = [time for row in rows for time in (row.prompt_ms, row.everything_ms) if time]
    low = math.floor(math.log10(min(times, default=1.0)))
    high = max(low + 1, math.ceil(math.log10(max(times, default=10.0))))
    canvas = PIL.Image.new("RGB", (WIDTH, HEAD + ROW * len(rows) + FOOT), PAPER)
    draw = PIL.ImageDraw.Draw(canvas)
    draw.text((MARGIN, 20), "Time per image", INK, _font(22))
    draw.text((MARGIN, 50), subtitle, PALE, _font(13))
    _draw_legend(draw)
    bottom = HEAD + ROW * len(rows)
    scale = (WIDTH - LEFT - RIGHT) / (high - low)
    for power in range(low, high + 1):
        x = LEFT + (power - low) * scale
        draw.line((x, HEAD, x, bottom), LINE)
        draw.text((x, bottom + 6), duration_words(10.0**power), PALE, _font(12), anchor="mt")
    for number, row in enumerate(rows):
        y = HEAD + ROW * number + ROW // 2
        draw.text((LEFT - 14, y), row.name + ("*" if row.is_seeded else ""), INK, _font(15), anchor="rm")
        bars = [(row.prompt_ms, PROMPT), (row.everything_ms, EVERYTHING)]
        shown = [(time, colour) for time, colour in bars if time]
        for index, (time, colour) in enumerate(shown):
            top = y - len(shown) * BAR / 2 + index * BAR
            end = LEFT + max(3.0, (math.log10(time) - low) * scale)
            draw.rounded_rectangle((LEFT, top + 1, end, top + BAR - 2), 3, fill=colour)
            draw.text((end + 7, top + BAR / 2), duration_words(time), INK, _font(12), anchor="lm")
        size = f"{'' if row.is_size_exact else '~ '}{row.size_mb:.0f} MB"
        draw.text((WIDTH - MARGIN - 95, y), size, INK, _font(13), anchor="rm")
        draw.text((WIDTH - MARGIN, y), f"{row.parameters / 1e6:.1f} M", INK, _font(13), anchor="rm")
    draw.text((WIDTH - MARGIN - 95, HEAD - 10), "file", PALE, _font(12), anchor="rm")
    draw.text((WIDTH - MARGIN, HEAD - 10), "parameters", PALE, _font(12), anchor="rm")
    draw.text((MARGIN, bottom + 38), footnote, PALE, _font(12))
    return canvas


def duration_words(milliseconds: float) -> str:
    """Return a duration for people: 3.2 ms, 45 ms, 1.8 s, 94 s."""
    value, unit = (milliseconds, "ms") if milliseconds < 1000 else (milliseconds / 1000, "s")
    return f"{value:.1f} {unit}" if value < 10 and value != int(value) else f"{value:.0f} {unit}"


def _draw_legend(draw: PIL.ImageDraw.ImageDraw) -> None:
    x = WIDTH - MARGIN
    for words, colour in (("everything", EVERYTHING), ("one prompt, new image", PROMPT)):
        x -= round(draw.textlength(words, _font(14)))
        draw.text((x, 31), words, INK, _font(14), anchor="lm")
        x -= 19
        draw.rounded_rectangle((x, 25, x + 12, 37), 3, fill=colour)
        x -= 18


def _font(size: int) -> "PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont":
    return PIL.ImageFont.load_default(size)
