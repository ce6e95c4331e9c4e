import socket
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2vpose.serving.engines.messages import Answer, Job, Ready, Unpacker, packed, received
from v2vpose.serving.engines.shared_crops import CropRef
from v2vpose.values import Decode, MemberAnswer


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(1, 20))
def test_messages_arrive_whole_however_the_stream_is_cut(contents, step):
    stream = b"".join(packed(content) for content in contents)
    unpacker = Unpacker()
    pieces = [stream[i : i + step] for i in range(0, len(stream), step)]
    assert [message for piece in pieces for message in unpacker.feed(piece)] == contents


def test_reading_ends_when_the_other_end_closes():
    here, there = socket.socketpair()
    with here, there:
        there.sendall(packed(Ready(1.0)) + packed("half")[:5])
        there.shutdown(socket.SHUT_WR)
        assert list(received(here, Unpacker())) == [Ready(1.0)]


@pytest.mark.parametrize("rows", [(), (0,), (3, 1)])
def test_answers_keep_their_places(rows):
    rng = np.random.default_rng(0)
    answers = {
        row: MemberAnswer(rng.random((5, 3)), rng.random(5), rng.random(3), occupied_vox=row)
        for row in rows
    }
    (message,) = Unpacker().feed(packed(Answer.of(7, 2, answers, {"forward": 0.5})))
    assert (message.number, message.epoch, message.error) == (7, 2, None)
    assert message.stage_s == {"forward": 0.5}
    found = message.answers()
    assert list(found) == list(rows)
    for row, expected in answers.items():
        np.testing.assert_array_equal(found[row].keypoints_mm, expected.keypoints_mm)
        np.testing.assert_array_equal(found[row].confidence, expected.confidence)
        np.testing.assert_array_equal(found[row].refined_point_mm, expected.refined_point_mm)
        assert found[row].occupied_vox == row
        assert found[row].heatmap_slices is None


def test_slices_travel_for_those_who_want_them():
    slices = np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)
    plain = MemberAnswer(np.zeros((1, 3)), np.zeros(1), np.zeros(3), 1)
    sent = Answer.of(7, 2, {0: plain, 4: replace(plain, heatmap_slices=slices)}, {})
    (message,) = Unpacker().feed(packed(sent))
    found = message.answers()
    assert found[0].heatmap_slices is None
    np.testing.assert_array_equal(found[4].heatmap_slices, slices)


def test_a_job_comes_out_as_it_went_in():
    crop = CropRef(64, (2, 3), (1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0), 250.0, wants_slices=True)
    job = Job(7, (crop, crop), Decode.SUBVOXEL, {1: (0, 1), 3: (1,)})
    (message,) = Unpacker().feed(job.packed())
    assert Job.unpacked(message) == job
