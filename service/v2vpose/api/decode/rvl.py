"""RVL (Wilson 2017), lossless run-length and variable-length coding of 16-bit depth.

Bounded on both sides: never writes more pixels than asked, never reads past the input. (The decoder
in ROS checks neither.) Runs of zeros and of readings alternate; each number is a chain of 3-bit
groups, lowest first, in nibbles whose top bit says "more"; eight nibbles make a little-endian word,
first nibble highest.
"""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from v2vpose.errors import InvalidDepthMapError

_FINE: Final = 0
_TRUNCATED: Final = 1
_OVERRUN: Final = 2
_LONG_NUMBER: Final = 3
_EMPTY_RUN: Final = 4
_PROBLEMS: Final = {
    _TRUNCATED: "truncated: the input ends before the last pixel",
    _OVERRUN: "corrupt: a run goes past the last pixel",
    _LONG_NUMBER: "corrupt: a number has more than 32 bits",
    _EMPTY_RUN: "corrupt: a run of no pixels",
}


def decode_rvl(payload: bytes, *, width: int, height: int) -> NDArray[np.uint16]:
    """Return (H, W) pixels. The caller has checked that width x height is within limits.

    Raises:
        InvalidDepthMapError: truncated, corrupt, or bytes left over.
    """
    if len(payload) % 4:
        raise InvalidDepthMapError(f"RVL comes in words of 4 bytes, found {len(payload)} bytes")
    words = np.frombuffer(payload, "<u4").astype(np.uint32, copy=False)
    pixels = np.zeros(width * height, np.uint16)
    problem, used = _decode(words, pixels)
    if problem:
        raise InvalidDepthMapError(f"the RVL frame is {_PROBLEMS[problem]}")
    if used != len(words):
        raise InvalidDepthMapError(
            f"the RVL frame of {width} x {height} pixels is {4 * used} bytes, found {len(payload)}"
        )
    return pixels.reshape(height, width)


def encode_rvl(pixels: NDArray[np.uint16]) -> bytes:
    """Return the RVL words of (H, W) pixels."""
    flat = np.ascontiguousarray(pixels).ravel()
    words = np.empty(flat.size + 8, np.uint32)  # at worst 6 nibbles a pixel, and a run's lengths
    return words[: _encode(flat, words)].astype("<u4").tobytes()


@njit(cache=True, nogil=True)
def _number(words: NDArray[np.uint32], at: int) -> tuple[int, int, int]:
    """Read one number at a nibble; return problem, value, next nibble."""
    value, shift = 0, 0
    while True:
        if at >= words.size * 8:
            return _TRUNCATED, 0, at
        nibble = (int(words[at >> 3]) >> (28 - 4 * (at & 7))) & 0xF
        at += 1
        if shift > 30:
            return _LONG_NUMBER, 0, at
        value |= (nibble & 7) << shift
        shift += 3
        if not nibble & 8:
            return _FINE, value, at


@njit(cache=True, nogil=True)
def _decode(words: NDArray[np.uint32], pixels: NDArray[np.uint16]) -> tuple[int, int]:
    """Fill the pixels; return problem and words used."""
    done, at, previous = 0, 0, 0
    while done < pixels.size:
        problem, zeros, at = _number(words, at)
        if problem:
            return problem, 0
        problem, readings, at = _number(words, at)
        if problem:
            return problem, 0
        if zeros + readings > pixels.size - done:
            return _OVERRUN, 0
        if zeros + readings == 0:
            return _EMPTY_RUN, 0
        done += zeros
        for _ in range(readings):
            problem, zigzag, at = _number(words, at)
            if problem:
                return problem, 0
            previous = (previous + ((zigzag >> 1) ^ -(zigzag & 1))) & 0xFFFF
            pixels[done] = previous
            done += 1
    return _FINE, (at + 7) >> 3


@njit(cache=True, nogil=True)
def _put(words: NDArray[np.uint32], at: int, value: int) -> int:
    while True:
        nibble = value & 7
        value >>= 3
        if value:
            nibble |= 8
        if at & 7 == 0:
            words[at >> 3] = 0
        words[at >> 3] |= np.uint32(nibble << (28 - 4 * (at & 7)))
        at += 1
        if not value:
            return at


@njit(cache=True, nogil=True)
def _encode(pixels: NDArray[np.uint16], words: NDArray[np.uint32]) -> int:
    """Fill the words; return how many."""
    start, at, previous = 0, 0, 0
    while start < pixels.size:
        end = start
        while end < pixels.size and pixels[end] == 0:
            end += 1
        at = _put(words, at, end - start)
        start = end
        while end < pixels.size and pixels[end] != 0:
            end += 1
        at = _put(words, at, end - start)
        for i in range(start, end):
            delta = int(pixels[i]) - previous
            at = _put(words, at, (delta << 1) ^ (delta >> 63))
            previous = int(pixels[i])
        start = end
    return (at + 7) >> 3
