"""One depth map -> one pose, in one process; and the pure steps that the service shares."""

from v2vpose.estimator.ensemble import ensemble_pose
from v2vpose.estimator.estimator import Estimator
from v2vpose.estimator.localiser import Localiser
from v2vpose.estimator.options import DEFAULTS, MAX_TARGETS, Options
from v2vpose.estimator.search import Guess, Judgement, Rivals, Search, Target

__all__ = [
    "DEFAULTS",
    "MAX_TARGETS",
    "Estimator",
    "Guess",
    "Judgement",
    "Localiser",
    "Options",
    "Rivals",
    "Search",
    "Target",
    "ensemble_pose",
]
