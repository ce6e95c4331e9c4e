"""A recipe: every number a training run depends on. Defaults are the paper's; sections cited."""

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from v2vpose.values import Handedness

RecipeName: TypeAlias = Literal["paper", "release", "compact"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Numbers of a training run; schedules count steps, never minutes.

    Attributes:
        input_side: voxels a side (section 5: 88).
        width: channels of the first block (figure 5: 16).
        side_mm: edge of the cubic box (section 7.1: 200 to 250 for hands).
        near_mm: nearest reading that a first reference point is looked for at.
        far_mm: farthest.
        handedness: the hand that the nets are to know, the other one is mirrored; None: bodies.
        optimiser: of the V2V net (section 6.3: RMSProp).
        learning_rate: of the V2V net (section 6.3: 2.5e-4).
        decay_from: share of the steps after which the rate falls along a cosine; 1 = never.
        loss: squared error, summed over a frame's voxels (equation 2) or their mean (release).
        norm_scale: first scale of batch normalisation: 1, or uniform in 0..1 (release).
        batch: frames a step, of all processes together (section 6.3: 8).
        epochs: passes over the set, and epoch checkpoints (section 6.3: 10).
        epoch_frames: frames a pass; None: all that the set has.
        rotation_deg: augmentation about z, +- (section 6.3: 40).
        scale: augmentation, least and most (section 6.3: 0.8, 1.2).
        translation_vox: augmentation in voxels of an 88 grid, +- (section 6.3: 8; release: 4).
        refiner: first points and learning rate: as DeepPrior++ (its section 3.3), or spread wide.
        refiner_side_mm: edge of the cube the refiner sees.
        refiner_views: crops a frame and pass; ten in ten passes are DeepPrior++'s 100 epochs.
        refiner_batch: crops a step (DeepPrior++: 64).
        refiner_learning_rate: DeepPrior++: Adam, 5e-4.
        first_point_sigma_mm: spread of `wide` first points around the target, in a 250 mm box.
        detector: whether a detector of first reference points is trained beside the others.
        detector_learning_rate: Adam.
        block: frames that come from the loader at once; the detector's batch.
        seed: of weights, order of frames and augmentation.
    """

    input_side: int = 88
    width: int = 16
    side_mm: float = 250.0
    near_mm: float = 100.0
    far_mm: float = 1500.0
    handedness: Handedness | None = Handedness.RIGHT
    optimiser: Literal["rmsprop", "adam"] = "rmsprop"
    learning_rate: float = 2.5e-4
    decay_from: float = 1.0
    loss: Literal["sum", "mean"] = "sum"
    norm_scale: Literal["one", "uniform"] = "one"
    batch: int = 8
    epochs: int = 10
    epoch_frames: int | None = None
    rotation_deg: float = 40.0
    scale: tuple[float, float] = (0.8, 1.2)
    translation_vox: float = 8.0
    refiner: Literal["deepprior", "wide"] = "deepprior"
    refiner_side_mm: float = 300.0
    refiner_views: int = 10
    refiner_batch: int = 64
    refiner_learning_rate: float = 5e-4
    first_point_sigma_mm: tuple[float, ...] = (8.0, 20.0, 40.0)
    detector: bool = False
    detector_learning_rate: float = 1e-3
    block: int = 32
    seed: int = 1

    @property
    def heatmap_side(self) -> int:
        """Cells a side, half the input's."""
        return self.input_side // 2


PAPER: Final = Recipe()
RELEASE: Final = replace(PAPER, loss="mean", norm_scale="uniform", translation_vox=4.0)
"""Where the released Torch7 code differs from the paper."""
COMPACT: Final = Recipe(
    input_side=48,
    width=8,
    optimiser="adam",
    learning_rate=1e-3,
    decay_from=0.4,
    epochs=9,
    scale=(0.9, 1.1),
    translation_vox=12.0,
    refiner="wide",
    refiner_views=1,
    refiner_batch=32,
)
"""For CPUs, the bundled `hand` model's: generated frames bring their own sizes and rolls."""
RECIPES: Final[dict[RecipeName, Recipe]] = {
    "paper": PAPER,
    "release": RELEASE,
    "compact": COMPACT,
}
