"""Label Studio's brush RLE: encode masks, decode regions.

The format is the bit stream of @thi.ng/rle-pack (`src/binary.ts` @ 3.2.12, Apache-2.0), most significant bit first:

    32 bits        number of values
    5 bits         word size - 1: bits of a value (Label Studio: 8)
    4 x 4 bits     run sizes - 1: the four possible widths of a length, in bits (Label Studio: 3, 4, 8, 16)
    followed by records, until all values are given:
    1 ss n v       a run: n + 1 times the value v; the width of n is run size number ss
    0 ss n v v ..  a literal: n + 1 values

Label Studio encodes the RGBA pixels of the image, row by row (label_studio_sdk 2.1.2, `converter/brush.py`), so the
number of values is height x width x 4. A pixel of a mask has the same value, 0 or 255, in all four channels. The bytes
equal those of that converter, including two special cases: a run of more than 2^16 values is split after each 2^16
values, and its last part has a 16-bit length even if it is short; a stream that ends at a byte boundary has one more
zero byte. With four channels each run has at least four values, so an encoded mask has no literals. Label Studio's
editor encodes a canvas when it saves; its antialiased edges have other values, and literals.

A decoded pixel belongs to the mask if its **alpha is not 0**, as in the converter's COCO export
(`exports/brush_to_coco.py`: `cv2.findContours` on the alpha channel; its NumPy and PNG exports keep alpha). So all
painted pixels are kept.

Both directions exist twice, with the same results: as loops that Numba compiles, if it is installed (extra `[cpu]`),
and with NumPy.
"""

from collections.abc import Sequence, Set
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sam_model.runtime.compiled_loops import CompiledLoops

CHANNELS = 4
HEADER_BITS = 32 + 5 + 4 * 4
WORD_BITS, RUN_BITS = 8, (3, 4, 8, 16)  # of Label Studio
MAX_RUN = 2 ** RUN_BITS[-1] // CHANNELS  # pixels
RECORDS_PER_BATCH = 1 << 16  # of encoding: temporary arrays fit into the processor's cache
LANE_BITS = 2048  # of decoding: about a hundred records per lane
MIN_LANES = 64  # with fewer, reading lanes in parallel is slower than one by one
SYNC_BITS = 256  # before a lane: about ten records, enough to find a record's first bit

loops = CompiledLoops("sam_backend.shapes.brush_rle_kernels")

Integers = NDArray[np.int64]


def encode_mask(mask: NDArray[np.bool_]) -> list[int]:
    """Encode a mask (H, W) as Label Studio's converter does, byte for byte.

    Raises:
        ValueError: the mask is not a boolean (H, W) array, is empty, or has 2^30 pixels or more.
    """
    rle: list[int] = encode_mask_bytes(mask).tolist()
    return rle


def encode_mask_bytes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Encode a mask (H, W) as `encode_mask` does, into an array, which orjson writes without making a list.

    Raises:
        ValueError: as in `encode_mask`.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"a mask must be a boolean (H, W) array, not {mask.dtype} {mask.shape}")
    if not 0 < mask.size * CHANNELS < 2**32:
        raise ValueError(f"a brush RLE has 1 to 2^30 - 1 pixels, not {mask.size} as the mask {mask.shape}")
    header = mask.size * CHANNELS << 5 | WORD_BITS - 1
    for size in RUN_BITS:
        header = header << 4 | size - 1
    kernels = loops.get()
    if kernels is None:
        return _encode_with_numpy(mask.ravel(), header)
    pixels = np.ascontiguousarray(mask).ravel().view(np.uint8)
    # 14 bits for each pixel if every run has one; pages of memory that are not written cost nothing
    encoded = np.empty(-(-(HEADER_BITS + 14 * pixels.size + 32) // 8) + 8, np.uint8)
    encoded[:4] = np.frombuffer((header >> HEADER_BITS - 32).to_bytes(4), np.uint8)
    rest = header & (1 << HEADER_BITS - 32) - 1
    words = pixels[: pixels.size // 8 * 8].view(np.uint64)
    n_bytes = kernels.encode_pixels(pixels, words, np.uint64(rest), HEADER_BITS - 32, encoded[4:])
    return encoded[: 4 + n_bytes].copy()


def _encode_with_numpy(pixels: NDArray[np.bool_], header: int) -> NDArray[np.uint8]:
    records = _records_of_runs(pixels)
    bit_count = HEADER_BITS + int((records & 31).sum(dtype=np.int64))
    words = np.zeros(bit_count // 32 + 2, np.uint32)  # one more, for the end of the last record
    words[0], words[1] = header >> 21, header << 11 & 0xFFFFFFFF

    begin = HEADER_BITS
    for first in range(0, records.size, RECORDS_PER_BATCH):
        begin = _write_records(records[first : first + RECORDS_PER_BATCH], words, begin)
    return words.astype(">u4").view(np.uint8)[: bit_count // 8 + 1]


def _zero_runs(lengths: Integers, kinds: Integers | int) -> NDArray[np.uint32]:
    """Return records of runs of 0s with the given lengths in pixels: at most 27 bits, times 32, plus their number."""
    sizes = np.array(RUN_BITS)[kinds]
    bits = ((4 | kinds) << sizes | lengths * CHANNELS - 1) << WORD_BITS
    records: NDArray[np.uint32] = (bits << 5 | 3 + sizes + WORD_BITS).astype(np.uint32)
    return records


@cache
def _zero_run_table() -> NDArray[np.uint32]:
    """Return the record of a run of 0s for each length in pixels, 1 to `MAX_RUN`."""
    lengths = np.arange(MAX_RUN + 1)
    return _zero_runs(lengths, np.searchsorted(np.left_shift(1, RUN_BITS[:3]), lengths * CHANNELS))


def _records_of_runs(pixels: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return the records of a mask's pixels, in the form of `_zero_runs`."""
    borders = np.flatnonzero(pixels[1:] != pixels[:-1])
    lengths = np.diff(borders, prepend=-1, append=pixels.size - 1)
    painted = np.zeros(lengths.size, np.uint32)
    painted[0 if pixels[0] else 1 :: 2] = 255 << 5
    records = np.take(_zero_run_table(), lengths, mode="clip") | painted
    long = np.flatnonzero(lengths > MAX_RUN)
    if long.size:
        parts = -(-lengths // MAX_RUN)
        records = np.repeat(records, parts)
        rests = lengths[long] - (parts[long] - 1) * MAX_RUN
        # The converter gives the last parts a 16-bit length, even if they are short.
        records[np.cumsum(parts)[long] - 1] = _zero_runs(rests, len(RUN_BITS) - 1) | painted[long]
    return records


def _write_records(records: NDArray[np.uint32], words: NDArray[np.uint32], begin: int) -> int:
    """Write records into a stream of 32-bit words from bit `begin` on; return the position of the next bit."""
    sizes = records & 31
    ends = np.cumsum(sizes, dtype=np.int64) + begin
    begins = ends - sizes
    at = begins >> 5
    shifted = (records >> 5).astype(np.uint64) << (64 - sizes - (begins & 31)).astype(np.uint64)
    # Records do not overlap, so the sum of those that begin in one word has the bits of this word and the next.
    firsts = np.flatnonzero(np.diff(at, prepend=-1))
    sums = np.add.reduceat(shifted, firsts)
    at = at[firsts]
    words[at] |= (sums >> np.uint64(32)).astype(np.uint32)
    words[at + 1] |= sums.astype(np.uint32)  # the lower half
    return int(ends[-1])


def decode_mask(rle: Sequence[int] | NDArray[np.uint8], height: int, width: int) -> NDArray[np.bool_]:
    """Decode a brush region into a mask (H, W): True where alpha is not 0.

    Bytes after the last value are ignored, as in Label Studio's decoders. Memory depends on `height` and `width` and on
    the length of the stream, not on the number of values that its header gives.

    Raises:
        ValueError: `rle` is not a sequence of bytes, or has not height x width x 4 values.
    """
    if height < 1 or width < 1:
        raise ValueError(f"an image must have at least one pixel, not height {height} and width {width}")
    header = _Header(_bytes_of(rle))
    expected = height * width * CHANNELS
    if header.count != expected:
        raise ValueError(f"the rle has {header.count} values; {height} x {width} RGBA pixels have {expected}")
    kernels = loops.get()
    if kernels is None:
        mask, last_end = _decode_with_numpy(_Stream(header), expected)
    else:
        mask = np.zeros(height * width, np.bool_)
        data, run_sizes = np.frombuffer(bytearray(header.data), np.uint8), np.array(header.sizes, np.int64)
        last_end = kernels.decode_pixels(
            data, header.bit_count, HEADER_BITS, run_sizes, header.word_size, expected, mask
        )
    if last_end < expected:
        raise ValueError(f"the rle ends after {last_end} of {expected} values")
    if last_end > expected:
        raise ValueError(f"the rle's last run ends at {last_end} values, expected {expected}")
    return mask.reshape(height, width)


def _decode_with_numpy(stream: "_Stream", expected: int) -> tuple[NDArray[np.bool_], int]:
    """Return the mask (N,), valid if the last record ends at `expected` values, and where that record ends."""
    begins = stream.record_begins()
    kinds, lengths, sizes = stream.records(begins)
    ends = np.cumsum(lengths)
    ends = ends[begins + sizes <= stream.bit_count]  # only the last record can be incomplete
    last = int(np.searchsorted(ends, expected))
    if last == ends.size or ends[last] != expected:
        end = ends[min(last, ends.size - 1)] if ends.size else 0
        return np.zeros(0, np.bool_), int(end)
    begins, kinds, ends = begins[: last + 1], kinds[: last + 1], ends[: last + 1]

    values_at = begins + 3 + stream.run_sizes[kinds]
    visible = stream.is_nonzero(values_at) & (kinds > 3)
    # Value 4 i + 3 is the alpha of pixel i, so e values contain the alphas of e // 4 pixels.
    pixel_ends = ends // CHANNELS
    pixel_counts = np.diff(pixel_ends, prepend=0)
    mask = np.repeat(visible, pixel_counts)
    literals = np.flatnonzero((kinds < 4) & (pixel_counts > 0))
    if literals.size:
        literal = np.repeat(literals, pixel_counts[literals])  # of each pixel
        nth = np.arange(literal.size) - np.searchsorted(literal, literal)
        pixels = pixel_ends[literal] - pixel_counts[literal] + nth
        value_offsets = CHANNELS * pixels + CHANNELS - 1 - (ends[literal] - lengths[literal])
        mask[pixels] = stream.is_nonzero(values_at[literal] + stream.word_size * value_offsets)
    return mask, expected


def _bytes_of(rle: Sequence[int] | NDArray[np.uint8]) -> bytes:
    if isinstance(rle, np.ndarray):
        if rle.dtype != np.uint8 or rle.ndim != 1:
            raise ValueError(f"an rle array must have dtype uint8 and one axis, not {rle.dtype} and shape {rle.shape}")
        return rle.tobytes()
    if not isinstance(rle, Sequence):
        raise ValueError(f"an rle must be a list of bytes, not {type(rle).__name__}")
    try:
        return bytes(rle)
    except (TypeError, ValueError) as error:
        index, value = next((i, v) for i, v in enumerate(rle) if type(v) is not int or not 0 <= v <= 255)
        raise ValueError(f"rle[{index}] is {value!r:.40}, expected an integer from 0 to 255") from error


class _Header:
    """The header of an rle, and the bytes of the rle."""

    def __init__(self, data: bytes) -> None:
        if len(data) * 8 < HEADER_BITS:
            raise ValueError(f"the rle has {len(data)} bytes; its header has {-(-HEADER_BITS // 8)}")
        header = int.from_bytes(data[: -(-HEADER_BITS // 8)]) >> -HEADER_BITS % 8
        self.sizes = [(header >> shift & 15) + 1 for shift in (12, 8, 4, 0)]
        self.count = header >> 21
        self.word_size = (header >> 16 & 31) + 1
        self.bit_count = len(data) * 8
        self.data = data + bytes(8)  # a window may begin at any bit


class _Stream:
    """The records of an rle, whose positions are found in parallel.

    The position of a record is known only after the record before it has been read. So the stream is divided into
    lanes, which NumPy reads in parallel, each from a guessed position: reading plausible runs before the lane soon
    leads to the first bit of a true record. Then the first record of each lane is compared with the end of the lane
    before; where they differ, records are read one by one.
    """

    def __init__(self, header: _Header) -> None:
        self.sizes, self.count, self.word_size = header.sizes, header.count, header.word_size
        self.bit_count, self.data = header.bit_count, header.data
        padded = np.frombuffer(self.data, np.uint8).astype(np.uint32)
        # windows[i] is bytes i to i + 3
        self.windows = np.zeros(padded.size - 3, np.uint32)
        for byte in range(4):
            self.windows |= padded[byte : byte + self.windows.size] << np.uint32(24 - 8 * byte)
        # by kind, the first three bits of a record: 0 to 3 are literals, 4 to 7 are runs
        self.run_sizes = np.array(self.sizes * 2, np.int64)

    def window(self, at: Integers) -> NDArray[np.uint32]:
        """Return the bits from each position on: at least 25; zeros after the end."""
        windows = np.take(self.windows, at >> 3, mode="clip")
        return np.left_shift(windows, (at & 7).astype(np.uint32), dtype=np.uint32)

    def is_nonzero(self, at: Integers) -> NDArray[np.bool_]:
        """Return whether the values at these positions are not 0."""
        high = min(self.word_size, 16)
        found: NDArray[np.bool_] = self.window(at) >> np.uint32(32 - high) != 0
        if self.word_size > high:
            found |= self.window(at + high) >> np.uint32(32 - (self.word_size - high)) != 0
        return found

    def records(self, at: Integers) -> tuple[Integers, Integers, Integers]:
        """Return kinds, lengths in values, and sizes in bits of the records at these positions."""
        window = self.window(at)
        kinds = (window >> np.uint32(29)).astype(np.int64)
        run_sizes = self.run_sizes[kinds]
        lengths = (window.astype(np.int64) & 0x1FFFFFFF) >> (29 - run_sizes)
        lengths += 1
        sizes = 3 + run_sizes + np.where(kinds > 3, 1, lengths) * self.word_size
        return kinds, lengths, sizes

    def record_begins(self) -> Integers:
        """Return the position of each record, in order; bytes after the last value are read as records as well."""
        lanes = np.arange(HEADER_BITS, self.bit_count, LANE_BITS)
        if lanes.size < MIN_LANES:
            return np.array(self._read_one_by_one(HEADER_BITS, self.bit_count)[0], np.int64)
        ends = np.minimum(lanes + LANE_BITS, self.bit_count)
        entries = np.maximum(lanes - SYNC_BITS, HEADER_BITS)
        while (before := entries < lanes).any():
            entries = entries + np.where(before, self._plausible_steps(entries), 0)
        exits, rows = entries, []
        while (inside := exits < ends).any():
            rows.append(exits)
            exits = exits + np.where(inside, self.records(exits)[2], 0)
        positions = np.stack(rows, axis=1)  # (lanes, records)
        is_begin = positions < ends[:, None]

        extra: list[int] = []
        position = HEADER_BITS
        for lane, (entry, leave, end) in enumerate(zip(entries.tolist(), exits.tolist(), ends.tolist(), strict=True)):
            if position != entry:
                known = set(positions[lane, is_begin[lane]].tolist())
                begins_before, position = self._read_one_by_one(position, end, known)
                extra += begins_before
                is_begin[lane] &= positions[lane] >= position
            if position < end:
                position = leave
        begins = positions[is_begin]
        return np.sort(np.append(begins, extra)) if extra else begins

    def _plausible_steps(self, at: Integers) -> Integers:
        """Return the size of a run of 0s or of words of 1s, else one bit."""
        kinds, _, sizes = self.records(at)
        high = min(self.word_size, 16)
        values = self.window(at + 3 + self.run_sizes[kinds]) >> np.uint32(32 - high)
        return np.where((kinds > 3) & ((values == 0) | (values == 2**high - 1)), sizes, 1)

    def _read_one_by_one(self, position: int, end: int, known: Set[int] = frozenset()) -> tuple[list[int], int]:
        """Read records one by one, up to `end` or a known one; return their positions and the next position."""
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
