"""The paper on one page: one depth map -> one pose. No queues, no processes.

Guess where the target is -> a judge takes the best guess -> every epoch checkpoint refines,
voxelizes, forwards and warps (`member`) -> mean of their keypoints (section 8.3).
"""

from collections.abc import Sequence
from typing import Self

from v2vpose.backends import BackendWish
from v2vpose.errors import NothingToEstimateError
from v2vpose.estimator.ensemble import ensemble_pose
from v2vpose.estimator.localiser import Localiser
from v2vpose.estimator.options import DEFAULTS, Options
from v2vpose.estimator.search import Judgement, Search, Target
from v2vpose.member import Member, load_member
from v2vpose.model_store import ModelVersion
from v2vpose.values import DepthFrame, Pose


class Estimator:
    """One model version in one process.

    Args:
        localiser: guesses where targets are.
        members: its epoch checkpoints.
    """

    def __init__(self, localiser: Localiser, members: Sequence[Member]) -> None:
        self._localiser = localiser
        self._members = {member.epoch: member for member in members}

    @classmethod
    def load(cls, version: ModelVersion, *, backend: BackendWish | None = None) -> Self:
        """Load every epoch checkpoint of a version; backend None = the fastest here."""
        epochs = version.manifest.epoch_numbers
        members = [load_member(version, epoch, backend=backend) for epoch in epochs]
        return cls(Localiser.load(version), members)

    def estimate(self, frame: DepthFrame, options: Options = DEFAULTS) -> Pose:
        """Estimate the pose of the best target in the frame.

        Raises:
            NothingToEstimateError: no target in view, or an empty cube.
            InvalidFieldError: an option is out of range.
            UnknownModelError: an epoch is not in the ensemble.
        """
        first = self.estimate_all(frame, options)[0]
        if isinstance(first, NothingToEstimateError):
            raise first
        return first

    def estimate_all(
        self, frame: DepthFrame, options: Options = DEFAULTS
    ) -> tuple[Pose | NothingToEstimateError, ...]:
        """Estimate every target asked for: in the order of the hints, else the surest first.

        Raises:
            NothingToEstimateError: no target in view.
            InvalidFieldError, UnknownModelError: see `estimate`.
        """
        search = self._localiser.search(frame, options)
        return tuple(
            target if isinstance(target, NothingToEstimateError) else self._pose(frame, target)
            for target in search.targets(self._judgement(search))
        )

    def _judgement(self, search: Search) -> Judgement | None:
        if not search.in_question:
            return None
        epoch = search.judges[0]
        crops = [guess.crop for guess in search.in_question]
        return Judgement(epoch, self._members[epoch].estimate(crops, search.decode).answers)

    def _pose(self, frame: DepthFrame, target: Target) -> Pose | NothingToEstimateError:
        answers = {
            epoch: target.known[epoch]
            if epoch in target.known
            else self._members[epoch].estimate([target.crop], target.decode).answers[0]
            for epoch in target.epochs
        }
        try:
            return ensemble_pose(frame, target, answers)
        except NothingToEstimateError as nothing:
            return nothing
