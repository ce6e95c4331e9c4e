import pytest

from v2vpose.errors import OverloadedError, UnavailableError
from v2vpose.serving.admission import Admission


def test_a_full_queue_refuses_at_once_and_a_place_that_is_left_is_free_again():
    admission = Admission(max_queue_size=1)
    with admission.place() as place:
        with pytest.raises(OverloadedError), admission.place():
            pass
        place.leave()
        with admission.place():
            assert admission.waiting == 1
    assert admission.waiting == 0


def test_a_place_is_left_once_whatever_happens():
    admission = Admission(max_queue_size=3)
    with admission.place() as place:
        place.leave()
        place.leave()
        assert admission.waiting == 0
    assert admission.waiting == 0
    with pytest.raises(KeyError), admission.place():
        raise KeyError
    assert admission.waiting == 0


def test_closed_means_unavailable():
    admission = Admission(max_queue_size=1)
    admission.close()
    with pytest.raises(UnavailableError), admission.place():
        pass


def test_the_number_that_wait_is_told():
    told: list[int] = []
    with Admission(max_queue_size=2, on_waiting=told.append).place():
        pass
    assert told == [1, 0]


def test_a_request_for_several_targets_takes_a_place_for_each():
    admission = Admission(max_queue_size=3)
    with admission.place(2) as two:
        assert admission.waiting == 2
        with pytest.raises(OverloadedError), admission.place(2):
            pass
        two.leave()
        assert admission.waiting == 0


def test_a_request_for_more_targets_than_places_is_taken_when_it_is_alone():
    admission = Admission(max_queue_size=3)
    with admission.place(9), pytest.raises(OverloadedError), admission.place():
        pass
    with admission.place(), pytest.raises(OverloadedError), admission.place(9):
        pass
    assert admission.waiting == 0
