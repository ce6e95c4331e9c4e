import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2vpose.evaluation.reliability import Bin, fitted, reliability

peaks_and_right = st.lists(st.tuples(st.floats(0.001, 0.999), st.booleans()), min_size=1)


def test_confidence_is_compared_with_the_share_that_is_right() -> None:
    confidence = np.array([0.95, 0.91, 0.97, 0.93, 0.15, 1.0])
    is_right = np.array([True, True, True, False, False, True])
    found = reliability(confidence, is_right)
    low, high = found.bins
    assert low == Bin(keypoints=1, confidence=0.15, right=0.0)
    assert (high.keypoints, high.right) == (5, 0.8)
    assert high.confidence == pytest.approx(0.952)
    assert found.off_percent == pytest.approx(100 * (0.15 + 5 * 0.152) / 6)


def test_what_is_fitted_is_right_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    peaks = rng.uniform(0, 0.7, 40_000)
    is_right = rng.random(len(peaks)) < np.sqrt(peaks)
    calibration = fitted(peaks[::2], is_right[::2], within_mm=20.0)
    assert calibration.within_mm == 20.0
    assert reliability(peaks[1::2], is_right[1::2]).off_percent > 15
    assert reliability(calibration.confidence(peaks[1::2]), is_right[1::2]).off_percent < 2


@given(peaks_and_right)
def test_a_higher_peak_is_never_worth_less(given_: list[tuple[float, bool]]) -> None:
    peaks, is_right = (np.array(each) for each in zip(*given_, strict=True))
    calibration = fitted(peaks, is_right, within_mm=20.0)
    worth = calibration.confidence(np.linspace(0, 1, 50))
    assert (np.diff(worth) >= 0).all()
    assert ((worth >= 0) & (worth <= 1)).all()
