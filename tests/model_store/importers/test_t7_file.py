import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model_store.importers.t7_files import Module, Slice, t7_bytes
from v2vpose.errors import InvalidModelError
from v2vpose.model_store.importers.t7_file import T7Object, read_t7


def test_a_hand_written_file_is_read():
    # {7 = "ab"}: table, index 1, one pair; number 7; string of 2 bytes
    content = struct.pack("<iii", 3, 1, 1) + struct.pack("<id", 1, 7) + struct.pack("<ii", 2, 2)
    assert read_t7(content + b"ab") == {7: "ab"}


def test_values_of_every_kind_come_back():
    value = {"none": None, "yes": True, "no": False, "half": 0.5, "text": "é", "list": [1, 2]}
    assert read_t7(t7_bytes(value)) == {**value, "list": {1: 1, 2: 2}}


def test_tensors_come_back_with_their_shape_and_views_share_a_storage():
    storage = np.arange(12, dtype="<f4")
    read = read_t7(t7_bytes([Slice(storage, 2, (2, 3)), Slice(storage, 8, (4,)), storage]))
    np.testing.assert_array_equal(read[1], [[2, 3, 4], [5, 6, 7]])
    np.testing.assert_array_equal(read[2], [8, 9, 10, 11])
    np.testing.assert_array_equal(read[3], storage)


def test_a_storage_that_views_share_is_written_and_read_once():
    storage = np.arange(1000, dtype="<f4")
    content = t7_bytes([Slice(storage, 0, (10, 100)), Slice(storage, 900, (100,))])
    assert len(content) < storage.nbytes + 400
    np.testing.assert_array_equal(read_t7(content)[2], np.arange(900, 1000))


def test_an_object_may_point_back_at_itself():
    module = Module("nn.Sequential")
    module.fields["self"] = module
    read = read_t7(t7_bytes(module))
    assert isinstance(read, T7Object)
    assert read.fields["self"] is read


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "4 more bytes, found 0"),
        (struct.pack("<i", 9), "a type tag 0 to 8, found 9"),
        (struct.pack("<i", 6), "Lua function, which is never run"),
        (struct.pack("<ii", 2, 1 << 30), "as many elements as the file has bytes for"),
        (struct.pack("<ii", 2, -1), "as many elements as the file has bytes for"),
        (struct.pack("<iii", 3, 1, 1 << 30), "as many elements as the file has bytes for"),
        (b"".join(struct.pack("<iiii", 3, i, 1, 5) + bytes(4) for i in range(200)), "nested"),
        (struct.pack("<iii", 3, 1, 1) + struct.pack("<iii", 3, 2, 0) + bytes(4), "unhashable"),
    ],
)
def test_a_broken_file_is_refused_before_anything_large_is_made(content, text):
    with pytest.raises(InvalidModelError, match=text):
        read_t7(content)


@pytest.mark.parametrize(
    ("shape", "strides", "first", "text"),
    [
        ((1 << 40,), (1,), 1, "inside its storage"),
        ((1 << 20, 1 << 20), (0, 0), 1, "inside its storage"),
        ((4,), (1,), 2, "inside its storage"),
        ((4,), (1,), 0, "inside its storage"),
        ((4,), (-1,), 4, "inside its storage"),
        ((1,) * 9, (1,) * 9, 1, "0 to 8 axes"),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(shape, strides, first, text):
    name = b"torch.FloatTensor"
    head = struct.pack("<iii", 4, 1, len(name)) + name + struct.pack("<i", len(shape))
    head += struct.pack(f"<{2 * len(shape) + 1}q", *shape, *strides, first)
    name = b"torch.FloatStorage"
    storage = struct.pack("<iii", 4, 2, len(name)) + name + struct.pack("<q", 4) + bytes(16)
    with pytest.raises(InvalidModelError, match=text):
        read_t7(head + storage)


@given(st.data())
def test_a_file_cut_off_or_changed_anywhere_is_read_or_refused(data):
    module = Module("nn.X", {"weight": np.ones((2, 3), "<f4"), "list": [1.0, {"k": True}, "s"]})
    content = bytearray(t7_bytes(module))
    cut = data.draw(st.integers(0, len(content)))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(st.integers(0, 255))
    try:
        read_t7(bytes(content[:cut]))
    except InvalidModelError:
        return
