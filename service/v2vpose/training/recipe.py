"""A recipe: every number a training run depends on. Defaults are the paper's; sections cited."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Recipe:
    """Numbers of a training run; schedules count steps, never minutes.

    Attributes:
        input_side: voxels a side (section 5: 88).
        width: channels of the first block (figure 5: 16).
        side_mm: edge of the cubic box (section 7.1: 200 to 250 for hands).
        optimiser: of the V2V net (section 6.3: RMSProp).
        learning_rate: of the V2V net (section 6.3: 2.5e-4).
        decay_from: share of the steps after which the rate falls along a cosine; 1 = never.
        batch: frames a step (section 6.3: 8).
        epochs: epoch checkpoints (section 6.3: 10).
        steps_per_epoch: steps between two checkpoints.
        rotation_deg: augmentation about z, +- (section 6.3: 40).
        scale: augmentation, least and most (section 6.3: 0.8, 1.2).
        translation_vox: augmentation in voxels of an 88 grid, +- (section 6.3: 8).
        refiner_side_mm: edge of the cube the refiner sees.
        refiner_learning_rate: DeepPrior++ section 3.3: Adam, 5e-4.
        first_point_sigma_mm: spread of first reference points around the target's centre.
        detector_learning_rate: Adam.
        block: frames that come from the loader at once; the batch of all nets but V2V.
        seed: of weights, frames and augmentation.
    """

    input_side: int = 88
    width: int = 16
    side_mm: float = 250.0
    optimiser: Literal["rmsprop", "adam"] = "rmsprop"
    learning_rate: float = 2.5e-4
    decay_from: float = 1.0
    batch: int = 8
    epochs: int = 10
    steps_per_epoch: int = 9000
    rotation_deg: float = 40.0
    scale: tuple[float, float] = (0.8, 1.2)
    translation_vox: float = 8.0
    refiner_side_mm: float = 300.0
    refiner_learning_rate: float = 5e-4
    first_point_sigma_mm: tuple[float, ...] = (8.0, 20.0, 40.0)
    detector_learning_rate: float = 1e-3
    block: int = 32
    seed: int = 1

    @property
    def heatmap_side(self) -> int:
        """Cells a side, half the input's."""
        return self.input_side // 2

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.steps_per_epoch


COMPACT_HAND = Recipe(
    input_side=48,
    width=8,
    optimiser="adam",
    learning_rate=1e-3,
    decay_from=0.4,
    epochs=9,
    steps_per_epoch=800,
    scale=(0.9, 1.1),
    translation_vox=12.0,
)
"""The bundled `hand` model: generated frames bring their own sizes and rolls."""
