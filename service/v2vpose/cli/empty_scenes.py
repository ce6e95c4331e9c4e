"""`v2vpose evaluate --empty-scenes`: does the model know when there is nothing to find?"""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from v2vpose.evaluation.refusal import Refusals
    from v2vpose.model_store import ModelVersion

_err = Console(stderr=True)


def measure_refusals(version: "ModelVersion", *, scenes: int, frames: int, seed: int) -> "Refusals":
    """Look for hands in generated scenes without one, and in held-out frames with one."""
    from rich.progress import track

    from v2vpose.datasets.synthetic import EmptyScenes, SyntheticHands
    from v2vpose.evaluation.refusal import refusals

    empty = EmptyScenes(split="held_out", seed=seed)
    hands = SyntheticHands(split="held_out", seed=seed)
    return refusals(
        version,
        (empty.frame(i) for i in track(range(scenes), "scenes without a hand", console=_err)),
        (hands.frame(i) for i in track(range(frames), "frames with a hand", console=_err)),
    )


def refusal_tables(result: "Refusals") -> list[Table]:
    """Return what is found where nothing is, and what the threshold trades."""
    from v2vpose.evaluation.refusal import GOOD_MM, THRESHOLDS

    least = result.least
    subjects = Table(
        title=f"{result.model}: {len(result.shows)} empty scenes", title_justify="left"
    )
    for name in ("scene", "scenes", "nothing found %"):
        subjects.add_column(name, justify="left" if name == "scene" else "right")
    for subject, (count, percent) in result.by_subject(least).items():
        subjects.add_row(subject, f"{count}", f"{percent:.1f}")
    subjects.add_row("all", f"{len(result.shows)}", f"{result.empty_percent(least):.1f}")
    curve = Table(
        title=f"the same beside {len(result.error_mm)} frames with a target", title_justify="left"
    )
    for name in (
        "min_confidence",
        "nothing found %",
        "targets refused %",
        f"of those within {GOOD_MM:g} mm %",
    ):
        curve.add_column(name, justify="right")
    for threshold in sorted({*THRESHOLDS, least}):
        curve.add_row(
            f"{threshold:g}{' *' if threshold == least else ''}",
            f"{result.empty_percent(threshold):.1f}",
            f"{result.refused_percent(threshold):.1f}",
            f"{result.refused_percent(threshold, within_mm=GOOD_MM):.1f}",
        )
    return [subjects, curve]
