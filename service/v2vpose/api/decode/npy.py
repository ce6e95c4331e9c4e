"""NumPy's .npy: header read as literals (never pickle), size checked before the pixels."""

import io
import warnings
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from v2vpose.api.decode.checks import Limits
from v2vpose.errors import InvalidDepthMapError

_MAX_HEADER_BYTES: Final = 4096
_DTYPES: Final = ("uint16", "float32", "float64")


def decode_npy(body: bytes, limits: Limits) -> NDArray[Any]:
    """Return the (H, W) array; uint16, float32 or float64 of either byte order.

    Raises:
        InvalidDepthMapError: not such an array, truncated, or with bytes left over.
        PayloadTooLargeError: the header declares more pixels than the limit.
    """
    shape, is_fortran, dtype, at = _header(body)
    if dtype.name not in _DTYPES:
        raise InvalidDepthMapError(f"expected {', '.join(_DTYPES)} in the .npy, found {dtype}")
    if len(shape) != 2:
        raise InvalidDepthMapError(f"expected (rows, cols) in the .npy, found shape {shape}")
    height, width = shape
    limits.check_pixels(width, height)
    expected, found = height * width * dtype.itemsize, len(body) - at
    if found != expected:
        raise InvalidDepthMapError(
            f"the .npy is {'truncated' if found < expected else 'too long'}: "
            f"expected {expected} bytes of {dtype} pixels, found {found}"
        )
    flat = np.frombuffer(body, dtype, offset=at)
    return flat.reshape(shape, order="F" if is_fortran else "C")


def _header(body: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    file = io.BytesIO(body)
    try:
        version = npy_format.read_magic(file)
        read = {
            (1, 0): npy_format.read_array_header_1_0,
            (2, 0): npy_format.read_array_header_2_0,
        }[version]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers that Python 2 wrote
            shape, is_fortran, dtype = read(file, max_header_size=_MAX_HEADER_BYTES)
    except KeyError as error:
        raise InvalidDepthMapError(f"expected .npy version 1.0 or 2.0, found {error}") from error
    except Exception as error:  # its parser evaluates literals: anything may come
        raise InvalidDepthMapError(f"the .npy header cannot be read: {error}") from error
    if any(side < 0 for side in shape):
        raise InvalidDepthMapError(f"expected (rows, cols) in the .npy, found shape {shape}")
    return shape, is_fortran, dtype, file.tell()
