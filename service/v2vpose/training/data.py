"""Training sets by name: where frames come from, and what a net trained on them is for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from v2vpose.datasets.disk import open_dataset
from v2vpose.datasets.frames import DiskFrame, DiskFrames, Shuffled, spread
from v2vpose.datasets.synthetic import SyntheticBodies, SyntheticHands
from v2vpose.datasets.synthetic.body_rig import BODY_KEYPOINT_MEANING, BODY_SKELETON
from v2vpose.datasets.synthetic.hands import HAND_KEYPOINT_MEANING, HAND_SKELETON
from v2vpose.errors import InvalidDepthMapError, InvalidFieldError
from v2vpose.model_store import Keypoint, Subject
from v2vpose.training.fit import Frames
from v2vpose.training.recipe import Recipe
from v2vpose.training.samples import TrainingFrame
from v2vpose.training.watch import Held, held_out

SetName: TypeAlias = Literal[
    "hand", "body", "icvl", "nyu", "msra", "hands17", "itop-side", "itop-top"
]
WATCHED_FRAMES: Final = 128
WATCHED_BODIES: Final = 12
GENERATED_EPOCH_FRAMES: Final = 6400
"""A pass over generated frames, which have no end, if the recipe does not say."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Everything about a set that training and the manifest need.

    Attributes:
        frames: to train on.
        held: to watch by.
        watched: which frames those are, in words.
        skipped: frames of the split that cannot be used, by reason.
        recipe: the recipe with the set's box, hand and depths.
        description: of a model trained on it.
        subject: what it shows.
        keypoints: in order.
        skeleton: edges by index into the keypoints.
    """

    frames: Frames
    held: Held
    watched: str
    skipped: dict[str, int]
    recipe: Recipe
    description: str
    subject: Subject
    keypoints: tuple[Keypoint, ...]
    skeleton: tuple[tuple[int, int], ...]


def open_training_set(
    name: SetName, root: Path | None, recipe: Recipe, *, fold: int
) -> TrainingSet:
    """Open a set.

    Args:
        name: of the set; `hand` and `body`: generated frames.
        root: where a set on disk lies.
        recipe: of the run.
        fold: of MSRA, the subject left out.

    Raises:
        InvalidFieldError: a set on disk without its root, or what `open_dataset` refuses.
    """
    if name == "hand":
        return _hands(recipe)
    if name == "body":
        return _bodies(recipe)
    if root is None:
        raise InvalidFieldError(f"dataset {name} needs its root directory, found none given")
    dataset, _, view = name.partition("-")
    side: Literal["side", "top"] = "top" if view == "top" else "side"
    train = open_dataset(dataset, root, "train", fold=fold, view=side)
    test = open_dataset(dataset, root, "test", fold=fold, view=side)
    return _on_disk(name, train, test, recipe)


Generator: TypeAlias = SyntheticHands | SyntheticBodies


@dataclass(frozen=True, slots=True)
class GeneratedFrames:
    """Generated frames; a pass is a number, for they have no end."""

    subject: Subject
    generator: Generator
    count: int

    @property
    def origin(self) -> str:
        """What they are, in words."""
        plural = {Subject.HAND: "hands", Subject.BODY: "bodies"}[self.subject]
        return f"synthetic {plural}, split {self.generator.split}, seed {self.generator.seed}"

    def __len__(self) -> int:
        """Frames a pass."""
        return self.count

    def frame(self, place: int) -> TrainingFrame:
        """Return the frame at a place of the endless sequence."""
        return self.generator.frame(place)


def _hands(recipe: Recipe) -> TrainingSet:
    return _generated(
        Subject.HAND,
        WATCHED_FRAMES,
        SyntheticHands(split="train", seed=recipe.seed),
        SyntheticHands(split="held_out", seed=recipe.seed),
        recipe,
        description="21 keypoints of one hand, the MSRA set; trained on generated depth maps alone",
        meaning=HAND_KEYPOINT_MEANING,
        skeleton=HAND_SKELETON,
    )


def _bodies(recipe: Recipe) -> TrainingSet:
    """A cube that holds whoever stretches; people stand upright, and bring their own tilts."""
    recipe = replace(
        recipe,
        side_mm=2400.0,
        near_mm=500.0,
        far_mm=6000.0,
        handedness=None,
        rotation_deg=min(recipe.rotation_deg, 15.0),
        translation_vox=min(recipe.translation_vox, 8.0),
        refiner_side_mm=2600.0,
    )
    return _generated(
        Subject.BODY,
        WATCHED_BODIES,
        SyntheticBodies(split="train", seed=recipe.seed),
        SyntheticBodies(split="held_out", seed=recipe.seed),
        recipe,
        description="15 keypoints of one person, the ITOP set; trained on generated depth maps "
        "alone",
        meaning=BODY_KEYPOINT_MEANING,
        skeleton=BODY_SKELETON,
    )


def _generated(
    subject: Subject,
    watched: int,
    train: Generator,
    held: Generator,
    recipe: Recipe,
    *,
    description: str,
    meaning: dict[str, str],
    skeleton: tuple[tuple[int, int], ...],
) -> TrainingSet:
    """meaning: of each keypoint, in order."""
    recipe = replace(recipe, detector=True)
    count = GENERATED_EPOCH_FRAMES if recipe.epoch_frames is None else recipe.epoch_frames
    return TrainingSet(
        frames=GeneratedFrames(subject, train, count),
        held=held_out((held.frame(index) for index in range(watched)), recipe),
        watched=f"{watched} generated frames, split held_out, seed {recipe.seed}",
        skipped={},
        recipe=recipe,
        description=description,
        subject=subject,
        keypoints=tuple(Keypoint(name=n, meaning=m) for n, m in meaning.items()),
        skeleton=skeleton,
    )


def _on_disk(name: str, train: DiskFrames, test: DiskFrames, recipe: Recipe) -> TrainingSet:
    known = train.known
    recipe = replace(
        recipe,
        side_mm=known.side_mm,
        near_mm=known.near_mm,
        far_mm=known.far_mm,
        handedness=known.handedness,
        refiner_side_mm=known.refiner_side_mm,
    )
    frames = Shuffled(train, seed=recipe.seed, limit=recipe.epoch_frames)
    watched = list(_labelled(test))
    which = "test split"
    if not watched:  # HANDS17 publishes no labels of it
        watched, which = list(_labelled(train)), "train split: the test split has no labels"
    return TrainingSet(
        frames=frames,
        held=held_out(watched, recipe),
        watched=f"{len(watched)} frames of the {which}",
        skipped=train.skipped,
        recipe=recipe,
        description=f"{len(known.keypoints)} keypoints of {name}",
        subject=known.subject,
        keypoints=tuple(Keypoint(name=n, meaning=f"as {name} labels it") for n in known.keypoints),
        skeleton=known.skeleton,
    )


def _labelled(frames: DiskFrames) -> Iterator[DiskFrame]:
    """Decode evenly spread frames that can be read and have labels."""
    for index in spread(len(frames), WATCHED_FRAMES).tolist():
        try:
            frame = frames.frame(index)
        except InvalidDepthMapError:
            continue
        if np.isfinite(frame.keypoints_mm).all():
            yield frame
