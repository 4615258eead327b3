"""Label Studio's brush RLE: a mask to a list of bytes and back.

The stream is @thi.ng/rle-pack's (`src/binary.ts` @ 3.2.12, Apache-2.0), a bit stream, most significant bit first:

    32 bits        count of values
    5 bits         word size - 1; a value has as many bits (Label Studio: 8)
    4 x 4 bits     run sizes - 1; the lengths' widths (Label Studio: 3, 4, 8, 16)
    then records, until `count` values are there:
    1 ss n v       a run: n + 1 times the value v; n has run size number ss bits
    0 ss n v v ..  a literal: n + 1 values, one after the other

Label Studio packs the RGBA pixels of the image, row by row (label_studio_sdk 2.1.2, `converter/brush.py`), so count is
height x width x 4. A mask's pixel has the same value, 0 or 255, in all four channels. Two habits of that converter
are kept, because the bytes shall be the same: a run of more than 2^16 values is cut after each 2^16 and its rest has a
16-bit length, however short it is; and a stream that ends on a whole byte gets one more zero byte. Four channels make
every run four values long or longer, so an encoded mask has no literals. Label Studio's editor encodes a canvas when
it saves; antialiased edges then bring other values and literals.

A decoded pixel is visible where **alpha is not 0**. The converter's COCO export takes it so too
(`exports/brush_to_coco.py`: `cv2.findContours` on the alpha channel; its NumPy and PNG exports keep alpha as it is),
and nothing that was painted gets lost.
"""

from collections.abc import Sequence, Set
from functools import cache

import numpy as np
from numpy.typing import NDArray

CHANNELS = 4
HEADER_BITS = 32 + 5 + 4 * 4
WORD_BITS, RUN_BITS = 8, (3, 4, 8, 16)  # what Label Studio writes
LONGEST_RUN = 2 ** RUN_BITS[-1] // CHANNELS  # pixels
RECORDS_AT_ONCE = 1 << 16  # while encoding: temporaries stay in the processor's cache
LANE_BITS = 2048  # while decoding: a lane has a hundred records or so
FEWEST_LANES = 64  # below, walking side by side costs more than it saves
RUN_UP_BITS = 256  # of a lane; some ten records, enough to fall into step

Integers = NDArray[np.int64]


def encode_mask(mask: NDArray[np.bool_]) -> list[int]:
    """Encode a mask (H, W) as Label Studio's converter does, byte for byte.

    Raises:
        ValueError: the mask is not a boolean (H, W) array, has no pixels, or 2^30 pixels or more.
    """
    rle: list[int] = encode_mask_bytes(mask).tolist()
    return rle


def encode_mask_bytes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Encode a mask (H, W) like `encode_mask`, into an array that orjson writes without a list.

    Raises:
        ValueError: as in `encode_mask`.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"a mask is a boolean (H, W) array, this one is {mask.dtype} {mask.shape}")
    if not 0 < mask.size * CHANNELS < 2**32:
        raise ValueError(f"a brush RLE holds 1 to 2^30 - 1 pixels, the mask {mask.shape} has {mask.size}")
    records = _records_of_runs(mask.ravel())
    bit_count = HEADER_BITS + int((records & 31).sum(dtype=np.int64))
    words = np.zeros(bit_count // 32 + 2, np.uint32)  # one more, for the second half of the last record
    header = mask.size * CHANNELS << 5 | WORD_BITS - 1
    for size in RUN_BITS:
        header = header << 4 | size - 1
    words[0], words[1] = header >> 21, header << 11 & 0xFFFFFFFF

    begin = HEADER_BITS
    for first in range(0, records.size, RECORDS_AT_ONCE):
        begin = _write_records(records[first : first + RECORDS_AT_ONCE], words, begin)
    return words.astype(">u4").view(np.uint8)[: bit_count // 8 + 1]


def _zero_runs(lengths: Integers, kinds: Integers | int) -> NDArray[np.uint32]:
    """The records of runs of 0s, by their lengths in pixels: each its bits, at most 27, times 32, plus their number."""
    sizes = np.array(RUN_BITS)[kinds]
    bits = ((4 | kinds) << sizes | lengths * CHANNELS - 1) << WORD_BITS
    records: NDArray[np.uint32] = (bits << 5 | 3 + sizes + WORD_BITS).astype(np.uint32)
    return records


@cache
def _zero_run_table() -> NDArray[np.uint32]:
    """The record of a run by its length in pixels, 1 to `LONGEST_RUN`."""
    lengths = np.arange(LONGEST_RUN + 1)
    return _zero_runs(lengths, np.searchsorted(np.left_shift(1, RUN_BITS[:3]), lengths * CHANNELS))


def _records_of_runs(pixels: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """The records of a mask's pixels, in the form of `_zero_runs`."""
    borders = np.flatnonzero(pixels[1:] != pixels[:-1])
    lengths = np.diff(borders, prepend=-1, append=pixels.size - 1)
    painted = np.zeros(lengths.size, np.uint32)
    painted[0 if pixels[0] else 1 :: 2] = 255 << 5
    records = np.take(_zero_run_table(), lengths, mode="clip") | painted
    long = np.flatnonzero(lengths > LONGEST_RUN)
    if long.size:
        parts = -(-lengths // LONGEST_RUN)
        records = np.repeat(records, parts)
        rests = lengths[long] - (parts[long] - 1) * LONGEST_RUN
        # The converter gives rests the longest kind, however short they are.
        records[np.cumsum(parts)[long] - 1] = _zero_runs(rests, len(RUN_BITS) - 1) | painted[long]
    return records


def _write_records(records: NDArray[np.uint32], words: NDArray[np.uint32], begin: int) -> int:
    """Write records into a stream of 32-bit words from bit `begin` on; returns the bit after them."""
    sizes = records & 31
    ends = np.cumsum(sizes, dtype=np.int64) + begin
    begins = ends - sizes
    at = begins >> 5
    shifted = (records >> 5).astype(np.uint64) << (64 - sizes - (begins & 31)).astype(np.uint64)
    # Records lie side by side, so those that begin in one word add up to its bits and the next word's.
    firsts = np.flatnonzero(np.diff(at, prepend=-1))
    sums = np.add.reduceat(shifted, firsts)
    at = at[firsts]
    words[at] |= (sums >> np.uint64(32)).astype(np.uint32)
    words[at + 1] |= sums.astype(np.uint32)  # the lower half
    return int(ends[-1])


def decode_mask(rle: Sequence[int] | NDArray[np.uint8], height: int, width: int) -> NDArray[np.bool_]:
    """Decode what Label Studio stores into a mask (H, W): True where alpha is not 0.

    Whatever follows the last value is ignored, as Label Studio's own decoders do.

    Raises:
        ValueError: not a sequence of bytes, another number of values than height x width x 4, or a stream that
            ends before or runs beyond them. Nothing is allocated on the stream's word alone.
    """
    if height < 1 or width < 1:
        raise ValueError(f"an image has at least one pixel, not height {height} and width {width}")
    stream = _Stream(_bytes_of(rle))
    expected = height * width * CHANNELS
    if stream.count != expected:
        raise ValueError(f"the rle holds {stream.count} values, {height} x {width} RGBA pixels have {expected}")
    begins = stream.record_begins()
    kinds, lengths, sizes = stream.records(begins)
    ends = np.cumsum(lengths)
    ends = ends[begins + sizes <= stream.bit_count]  # a cut record can only be the last one
    last = int(np.searchsorted(ends, expected))
    if last == ends.size:
        raise ValueError(f"the rle ends after {ends[-1] if last else 0} of {expected} values")
    if ends[last] != expected:
        raise ValueError(f"the rle's last run makes it {ends[last]} values, {expected} are expected")
    begins, kinds, ends = begins[: last + 1], kinds[: last + 1], ends[: last + 1]

    values_at = begins + 3 + stream.run_sizes[kinds]
    visible = stream.is_nonzero(values_at) & (kinds > 3)
    # Value 4 i + 3 is pixel i's alpha, so e values contain the alphas of e // 4 pixels.
    pixel_ends = ends // CHANNELS
    pixel_counts = np.diff(pixel_ends, prepend=0)
    mask = np.repeat(visible, pixel_counts)
    literals = np.flatnonzero((kinds < 4) & (pixel_counts > 0))
    if literals.size:
        of = np.repeat(literals, pixel_counts[literals])  # each pixel's literal
        nth = np.arange(of.size) - np.searchsorted(of, of)
        pixels = pixel_ends[of] - pixel_counts[of] + nth
        value_offsets = CHANNELS * pixels + CHANNELS - 1 - (ends[of] - lengths[of])
        mask[pixels] = stream.is_nonzero(values_at[of] + stream.word_size * value_offsets)
    return mask.reshape(height, width)


def _bytes_of(rle: Sequence[int] | NDArray[np.uint8]) -> bytes:
    if isinstance(rle, np.ndarray):
        if rle.dtype != np.uint8 or rle.ndim != 1:
            raise ValueError(f"an rle array has dtype uint8 and one axis, not {rle.dtype} and shape {rle.shape}")
        return rle.tobytes()
    if not isinstance(rle, Sequence):
        raise ValueError(f"an rle is a list of bytes, not {type(rle).__name__}")
    try:
        return bytes(rle)
    except (TypeError, ValueError) as error:
        index, value = next((i, v) for i, v in enumerate(rle) if type(v) is not int or not 0 <= v <= 255)
        raise ValueError(f"rle[{index}] is {value!r:.40}, an integer from 0 to 255 is expected") from error


class _Stream:
    """The bits of an rle, its header read; its records are found many at a time.

    Where a record begins is known only when the one before has been read. The stream is cut into lanes that are
    walked side by side, each from a guess: a run-up of plausible runs falls into step with the true records soon.
    Then every lane's entry is compared with the exit of the lane before, and wrong starts are walked one by one.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) * 8 < HEADER_BITS:
            raise ValueError(f"the rle has {len(data)} bytes, its header alone has {-(-HEADER_BITS // 8)}")
        header = int.from_bytes(data[: -(-HEADER_BITS // 8)]) >> -HEADER_BITS % 8
        self.sizes = [(header >> shift & 15) + 1 for shift in (12, 8, 4, 0)]
        self.count = header >> 21
        self.word_size = (header >> 16 & 31) + 1
        self.bit_count = len(data) * 8
        self.data = data + bytes(8)  # so that a window may begin at any bit
        padded = np.frombuffer(self.data, np.uint8).astype(np.uint32)
        # windows[i] is bytes i to i + 3
        self.windows = np.zeros(len(data) + 5, np.uint32)
        for byte in range(4):
            self.windows |= padded[byte : byte + self.windows.size] << np.uint32(24 - 8 * byte)
        # By kind, the first three bits of a record: 0 to 3 literals, 4 to 7 runs.
        self.run_sizes = np.array(self.sizes * 2, np.int64)

    def window(self, at: Integers) -> NDArray[np.uint32]:
        """The bits from each position on: 25 at least, zeros behind the end."""
        windows = np.take(self.windows, at >> 3, mode="clip")
        return np.left_shift(windows, (at & 7).astype(np.uint32), dtype=np.uint32)

    def is_nonzero(self, at: Integers) -> NDArray[np.bool_]:
        """Whether the values at these positions are not 0."""
        high = min(self.word_size, 16)
        found: NDArray[np.bool_] = self.window(at) >> np.uint32(32 - high) != 0
        if self.word_size > high:
            found |= self.window(at + high) >> np.uint32(32 - (self.word_size - high)) != 0
        return found

    def records(self, at: Integers) -> tuple[Integers, Integers, Integers]:
        """Kinds, lengths in values and sizes in bits of records at these positions."""
        window = self.window(at)
        kinds = (window >> np.uint32(29)).astype(np.int64)
        run_sizes = self.run_sizes[kinds]
        lengths = (window.astype(np.int64) & 0x1FFFFFFF) >> (29 - run_sizes)
        lengths += 1
        sizes = 3 + run_sizes + np.where(kinds > 3, 1, lengths) * self.word_size
        return kinds, lengths, sizes

    def record_begins(self) -> Integers:
        """The position of each record, in order; what follows the last value is read as records too."""
        lanes = np.arange(HEADER_BITS, self.bit_count, LANE_BITS)
        if lanes.size < FEWEST_LANES:
            return np.array(self._walk(HEADER_BITS, self.bit_count)[0], np.int64)
        ends = np.minimum(lanes + LANE_BITS, self.bit_count)
        entries = np.maximum(lanes - RUN_UP_BITS, HEADER_BITS)
        while (before := entries < lanes).any():
            entries = entries + np.where(before, self._plausible_steps(entries), 0)
        exits, rows = entries, []
        while (inside := exits < ends).any():
            rows.append(exits)
            exits = exits + np.where(inside, self.records(exits)[2], 0)
        walked = np.stack(rows, axis=1)  # (lanes, records)
        is_begin = walked < ends[:, None]

        strays: list[int] = []
        position = HEADER_BITS
        for lane, (entry, leave, end) in enumerate(zip(entries.tolist(), exits.tolist(), ends.tolist(), strict=True)):
            if position != entry:
                known = set(walked[lane, is_begin[lane]].tolist())
                begins_before, position = self._walk(position, end, known)
                strays += begins_before
                is_begin[lane] &= walked[lane] >= position
            if position < end:
                position = leave
        begins = walked[is_begin]
        return np.sort(np.append(begins, strays)) if strays else begins

    def _plausible_steps(self, at: Integers) -> Integers:
        """Over a run of 0s or of words full of 1s, else one bit."""
        kinds, _, sizes = self.records(at)
        high = min(self.word_size, 16)
        values = self.window(at + 3 + self.run_sizes[kinds]) >> np.uint32(32 - high)
        return np.where((kinds > 3) & ((values == 0) | (values == 2**high - 1)), sizes, 1)

    def _walk(self, position: int, end: int, known: Set[int] = frozenset()) -> tuple[list[int], int]:
        """The records from `position` to one that is known, or to the end; and where that is."""
        begins = []
        while position < end and position not in known:
            begins.append(position)
            byte = position >> 3
            window = int.from_bytes(self.data[byte : byte + 4]) << (position & 7) & 0xFFFFFFFF
            kind = window >> 29
            size = self.sizes[kind & 3]
            length = 1 if kind > 3 else 1 + ((window & 0x1FFFFFFF) >> 29 - size)
            position += 3 + size + length * self.word_size
        return begins, position
