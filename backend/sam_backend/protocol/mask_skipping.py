"""Removal of brush masks from a request's JSON before it is parsed.

A click sends its task with all regions that the annotator has drawn: 300 brush regions are 10 MB of numbers that
nothing here reads. A JSON parser looks at each of these bytes; `bytes.find` finds the end of each array in a twentieth
of that time.

In valid JSON the bytes `"rle"` before a colon are the end of a name, never a part of a string's text, in which quotes
are escaped. An array without quotes and brackets inside holds numbers only and ends at the first `]`. So emptying it
leaves valid JSON, and removes only a field `rle`, of which this package reads none.
"""

NAME = b'"rle":'
MIN_BYTES = 100_000  # of a body in which masks are looked for
MIN_ARRAY_BYTES = 64


def without_masks(body: bytes | bytearray) -> bytes | bytearray:
    """Return the JSON text with the numbers in its `rle` arrays left out; short bodies are returned as they are.

    Text that is not valid JSON may become valid only inside such an array, which is not read.
    """
    if len(body) < MIN_BYTES:
        return body
    view = memoryview(body)
    kept: list[memoryview] = []
    end = 0  # of what is kept or left out so far
    at = body.find(NAME)
    while at >= 0:
        start = at + len(NAME)
        start += body[start : start + 1] == b" "  # json.dumps writes one
        stop = body.find(b"]", start) if body[start : start + 1] == b"[" else start
        if stop < 0:
            break
        if stop - start > MIN_ARRAY_BYTES and not _holds_more_than_numbers(body, start + 1, stop):
            kept.append(view[end : start + 1])
            end = stop
        at = body.find(NAME, stop)
    if not kept:
        return body
    kept.append(view[end:])
    return b"".join(kept)


def _holds_more_than_numbers(body: bytes | bytearray, start: int, stop: int) -> bool:
    return any(body.find(sign, start, stop) >= 0 for sign in (b'"', b"[", b"{"))
