import numpy as np
import pytest

from tests.frames import sphere_frame
from tests.stores import write_tiny_store
from v2vpose.errors import InvalidFieldError, NothingToEstimateError
from v2vpose.estimator import Guess, Localiser, Options, Rivals
from v2vpose.model_store import HandednessJudge, Manifest
from v2vpose.values import FloatArray, FoundBy, Handedness, Hint

FRAME = sphere_frame((30.0, 0.0, 500.0), wall_mm=900)
AT_BALL = Hint(reference_point_mm=(30.0, 0.0, 470.0))
BALL, CORNER, EDGE = (15, 21), (4, 4), (25, 30)  # cells of the detector's output


@pytest.fixture
def manifest(tmp_path):
    return write_tiny_store(tmp_path).manifest


@pytest.fixture
def judged(manifest):
    judge = HandednessJudge(epoch=2, per_confidence=40)
    return manifest.model_copy(update={"judge": judge})


class Sees:
    """A detector that sees hands at cells of its output, with these scores."""

    def __init__(self, scores: dict[tuple[int, int], float]) -> None:
        self._scores = scores

    def heat(self, image: np.ndarray) -> tuple[FloatArray, FloatArray]:
        rows, cols = (size // 4 for size in image.shape[1:])
        heat = np.zeros((rows, cols))
        for cell, score in self._scores.items():
            heat[cell] = score
        return heat, np.full((rows, cols), 0.48)


def guesses(
    manifest: Manifest, scores: dict[tuple[int, int], float] | None, options: Options
) -> tuple[Guess, ...]:
    localiser = Localiser(manifest, None if scores is None else Sees(scores))
    (rivals,) = localiser.search(FRAME, options).rivals
    assert isinstance(rivals, Rivals)
    return rivals.guesses


def places(found: tuple[Guess, ...]) -> list[float]:
    return [guess.point.score for guess in found]


def test_a_detector_gives_point_and_score(manifest):
    (guess,) = guesses(manifest, {BALL: 0.8}, Options())
    assert guess.point.found_by is FoundBy.DETECTOR
    assert guess.point.score == 0.8
    assert abs(guess.point.xyz_mm[2] - 480) < 20  # the readings there, and flesh behind


def test_without_a_judge_the_best_detections_are_the_targets(manifest):
    scores = {BALL: 0.6, CORNER: 0.72, EDGE: 0.21}
    assert places(guesses(manifest, scores, Options())) == [0.72]
    assert places(guesses(manifest, scores, Options(targets=2))) == [0.72, 0.6]
    assert places(guesses(manifest, scores, Options(targets=8))) == [0.72, 0.6, 0.21]


def test_a_judge_sees_rivals_of_the_best_place_and_both_hands(judged):
    scores = {BALL: 0.6, CORNER: 0.72, EDGE: 0.21}
    found = guesses(judged, scores, Options())
    assert places(found) == [0.72, 0.72, 0.6, 0.6]  # the third is too weak
    assert [guess.hand for guess in found] == 2 * [Handedness.RIGHT, Handedness.LEFT]
    assert places(guesses(judged, scores, Options(handedness=Handedness.LEFT))) == [0.72, 0.6]


def test_of_two_targets_a_weak_one_is_no_rival_but_a_target(judged):
    scores = {BALL: 0.9, CORNER: 0.25}
    assert places(guesses(judged, scores, Options(targets=2))) == [0.9, 0.9, 0.25, 0.25]


def test_the_second_guess_is_the_mirror_image_of_the_first(judged):
    as_it_is, in_mirror = (g.crop for g in guesses(judged, None, Options(hint=AT_BALL)))
    np.testing.assert_array_equal(as_it_is.depth_mm, in_mirror.depth_mm[:, ::-1])
    np.testing.assert_array_equal(
        as_it_is.reference_point_mm * [-1, 1, 1], in_mirror.reference_point_mm
    )


def test_a_weak_detection_is_nothing_to_estimate(manifest):
    with pytest.raises(
        NothingToEstimateError, match=r"no hand in view: the best detection scored 0\.10, need 0\.2"
    ):
        guesses(manifest, {BALL: 0.1}, Options())


def test_hints_of_which_none_holds_anything_are_nothing_to_estimate(manifest):
    empty = Hint(range_mm=(101.0, 102.0))
    with pytest.raises(NothingToEstimateError, match="found 0 readings between 101 and 102 mm"):
        guesses(manifest, None, Options(hints=(empty, empty)))
    localiser = Localiser(manifest, None)
    first, second = localiser.search(FRAME, Options(hints=(empty, AT_BALL))).rivals
    assert isinstance(first, NothingToEstimateError)
    assert isinstance(second, Rivals)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"targets": 0}, "targets must be 1 to 8, got 0"),
        ({"targets": 9}, "targets must be 1 to 8, got 9"),
        ({"hints": (AT_BALL,) * 9}, "hints must be 1 to 8, got 9"),
        ({"hints": (AT_BALL, Hint())}, "each of the hints must say where"),
        ({"hints": (AT_BALL,), "hint": AT_BALL}, "not both"),
        ({"hints": (AT_BALL,), "targets": 2}, "a hint is one target"),
        ({"hint": AT_BALL, "targets": 2}, "a hint is one target"),
    ],
)
def test_several_targets_are_told_in_one_way(options, text):
    with pytest.raises(InvalidFieldError, match=text):
        Options(**options)
