"""What a run tells people: log.csv, curve.png, and TensorBoard's files if it is installed.

All of it is drawn from the rows of the run's state, so a resumed run's journal is whole.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Row = dict[str, float]
LOG_FILE: Final = "log.csv"
CURVE_FILE: Final = "curve.png"
BOARD: Final = "tensorboard"
_ERRORS: Final = {
    "argmax_mm": "keypoints, argmax",
    "subvoxel_mm": "keypoints, sub-voxel",
    "refined_mm": "reference point, refined",
}
_LOSSES: Final = {"v2v_loss": "V2V net", "refiner_loss": "refiner", "detector_loss": "detector"}


class Journal:
    """Writes the rows of a run.

    Args:
        run: directory of the run.
        rows: those it has already; TensorBoard hides what came after them.
        board: whether TensorBoard's files are written too.
    """

    def __init__(self, run: Path, rows: Sequence[Row], *, board: bool = True) -> None:
        self._run = run
        after = int(rows[-1]["step"]) if rows else 0
        self._board = _board(run / BOARD, after=after) if board else None
        if rows:
            write_log(run / LOG_FILE, rows)

    def write(self, rows: Sequence[Row]) -> None:
        """Write the log and the curve anew, and add the last row to TensorBoard."""
        write_log(self._run / LOG_FILE, rows)
        draw_curve(rows, self._run / CURVE_FILE)
        if self._board is not None:
            for name, value in rows[-1].items():
                if name not in {"step", "epoch"}:
                    self._board.add_scalar(name, value, int(rows[-1]["step"]))
            self._board.flush()

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._board is not None:
            self._board.close()


def write_log(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV, six digits."""
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="", encoding="ascii") as file:
        writer = csv.DictWriter(file, [*rows[0]])
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)
    part.replace(path)


def draw_curve(rows: Sequence[Row], path: Path) -> None:
    """Draw losses, as shares of their first value, and the errors on the watched frames."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, errors = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    for name, label in _LOSSES.items():
        if name in rows[0]:
            values = [row[name] for row in rows]
            losses.plot(epochs, [v / (values[0] or 1) for v in values], marker=".", label=label)
    losses.set(xlabel="epoch", ylabel="loss / its first value", title="training", yscale="log")
    for name, label in _ERRORS.items():
        errors.plot(epochs, [row[name] for row in rows], marker=".", label=label)
    errors.set(xlabel="epoch", ylabel="mean error, mm", ylim=(0, None),
               title="watched frames, never trained on")  # fmt: skip
    for axes in (losses, errors):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=110)


def _board(directory: Path, *, after: int) -> "SummaryWriter | None":
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # an extra
    except ImportError:
        return None
    return SummaryWriter(directory, purge_step=after + 1)
