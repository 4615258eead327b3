"""Compiled loops of the brush RLE codec. Importing this file compiles them, or reads them from Numba's cache."""

from typing import Any

import numpy as np

from sam_model.runtime.loop_compiler import compiled

ONES = np.uint64(0x0101010101010101)  # eight painted pixels
LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)  # all bits of eight pixels but the highest
BLOCK = 16  # words
NEAR = 4  # words that are compared one by one before blocks: borders of ragged masks are close to each other
MAX_RUN = 1 << 14  # pixels; with four channels, 2^16 values


@compiled("Tuple((uint64, int64, int64))(uint64, int64, int64, int64, boolean, uint8[::1])")
def write_run(
    waiting: np.uint64, n_waiting: int, at: int, length: int, is_painted: bool, out: Any
) -> tuple[np.uint64, int, int]:
    """Append a run of `length` pixels to the bits that wait to be written; write whole 32-bit words to `out`.

    Return the bits that wait, their number, and the position in `out`.
    """
    is_long = length > MAX_RUN
    while length > 0:
        part = min(length, MAX_RUN)
        values = 4 * part
        if is_long or values > 256:
            kind, size = 7, 16
        elif values > 16:
            kind, size = 6, 8
        elif values > 8:
            kind, size = 5, 4
        else:
            kind, size = 4, 3
        record = ((kind << size | values - 1) << 8) | (255 if is_painted else 0)
        waiting = waiting << np.uint64(11 + size) | np.uint64(record)
        n_waiting += 11 + size
        if n_waiting >= 32:
            n_waiting -= 32
            word = waiting >> np.uint64(n_waiting)
            out[at] = np.uint8(word >> np.uint64(24) & np.uint64(255))
            out[at + 1] = np.uint8(word >> np.uint64(16) & np.uint64(255))
            out[at + 2] = np.uint8(word >> np.uint64(8) & np.uint64(255))
            out[at + 3] = np.uint8(word & np.uint64(255))
            at += 4
        length -= part
    return waiting, n_waiting, at


@compiled("int64(uint8[::1], uint64[::1], uint64, int64, uint8[::1])")
def encode_pixels(
    pixels: Any,
    words: Any,
    header: np.uint64,
    header_bits: int,
    out: Any,
) -> int:
    """Write header and runs of `pixels` (N,) to `out`; return the number of bytes.

    Args:
        pixels: (N,), not 0 where painted.
        words: the first N // 8 * 8 pixels, eight in each.
        header: the header's last bits.
        header_bits: number of these bits.
        out: large enough.
    """
    waiting, n_waiting, at = header, header_bits, 0
    begin, is_painted = 0, pixels[0] != 0
    k = 0
    while k < words.size:
        same = ONES if is_painted else np.uint64(0)
        near = min(k + NEAR, words.size)
        while k < near and words[k] == same:
            k += 1
        if k == near:
            while k + BLOCK <= words.size:  # the processor compares a block at once
                differences = np.uint64(0)
                for i in range(k, k + BLOCK):
                    differences |= words[i] ^ same
                if differences != 0:
                    break
                k += BLOCK
            while k < words.size and words[k] == same:
                k += 1
            if k == words.size:
                break
        word = words[k]
        painted = ((word & LOW_BITS) + LOW_BITS | word) >> np.uint64(7) & ONES  # 1 for each pixel that is not 0
        others = painted ^ same
        while others != 0:
            below = (others & (~others + np.uint64(1))) - np.uint64(1)  # all bits before the first other pixel
            border: Any = 8 * k + np.int64((below & ONES) * ONES >> np.uint64(56))  # the sum of its bytes, their number
            waiting, n_waiting, at = write_run(waiting, n_waiting, at, border - begin, is_painted, out)
            begin, is_painted = border, not is_painted
            others ^= ONES & ~below
        k += 1
    for i in range(8 * words.size, pixels.size):
        if (pixels[i] != 0) != is_painted:
            waiting, n_waiting, at = write_run(waiting, n_waiting, at, i - begin, is_painted, out)
            begin, is_painted = i, not is_painted
    waiting, n_waiting, at = write_run(waiting, n_waiting, at, pixels.size - begin, is_painted, out)
    waiting = waiting << np.uint64(32)
    for _ in range(n_waiting // 8 + 1):  # a stream that ends at a byte boundary has one more byte
        out[at] = np.uint8(waiting >> np.uint64(n_waiting + 24) & np.uint64(255))
        waiting = waiting << np.uint64(8)
        at += 1
    return int(at)


@compiled("int64(uint8[::1], int64, int64, int64[::1], int64, int64, boolean[::1])")
def decode_pixels(
    data: Any,
    bit_count: int,
    begin: int,
    run_sizes: Any,
    word_size: int,
    expected: int,
    mask: Any,
) -> int:
    """Paint the pixels (N,) of `mask` whose alpha is not 0; return the number of values at the end of the last record.

    Reading ends after `expected` values, or before the first record that is incomplete.

    Args:
        data: the stream, and eight more bytes.
        bit_count: bits of the stream.
        begin: position of the first record, in bits.
        run_sizes: the four run sizes in bits.
        word_size: bits of a value.
        expected: number of values, 4 N.
        mask: without painted pixels.
    """
    done = 0
    while done < expected and begin + 3 <= bit_count:
        window = np.uint64(0)
        for i in range(8):
            window = window << np.uint64(8) | np.uint64(data[(begin >> 3) + i])
        window = window << np.uint64(begin & 7)
        kind: Any = np.int64(window >> np.uint64(61))
        size = run_sizes[kind & 3]
        length: Any = np.int64((window << np.uint64(3)) >> np.uint64(64 - size)) + 1
        values_at = begin + 3 + size
        is_run = kind > 3
        end = values_at + (word_size if is_run else length * word_size)
        if end > bit_count:
            break
        if done + length > expected:
            return int(done + length)
        if is_run:
            if (window << np.uint64(3 + size)) >> np.uint64(64 - word_size) != 0:
                mask[done // 4 : (done + length) // 4] = True
        else:
            for nth in range(length):
                if (done + nth) % 4 == 3:
                    first = values_at + nth * word_size
                    is_painted = False
                    for bit in range(first, first + word_size):
                        is_painted |= (data[bit >> 3] >> (7 - (bit & 7))) & 1 == 1
                    mask[(done + nth) // 4] = is_painted
        done += length
        begin = end
    return done
