"""The state of a run on disk: what is needed to go on as if it had never stopped.

There is no generator in it: whatever is drawn depends on the place in the run alone.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from v2vpose.errors import InvalidFieldError
from v2vpose.training.recipe import Recipe
from v2vpose.training.trainees import Trainees

STATE_FILE: Final = "state.pt"


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        blocks: done.
        sums: of losses since the last row.
        counted: blocks in the sums.
        unreadable: frames so far that others stood in for.
        seconds: since the last row.
        waited_s: of them, for the loader.
        rows: of the log.
    """

    blocks: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counted: int = 0
    unreadable: int = 0
    seconds: float = 0.0
    waited_s: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)


def save_state(
    run: Path, trainees: Trainees, progress: Progress, origin: str, recipe: Recipe
) -> None:
    """Write the state beside the old one, then rename: a kill leaves one of the two, whole."""
    nets = {
        name: {"net": trainee.net.state_dict(), "optimiser": trainee.optimiser.state_dict()}
        for name, trainee in trainees.named().items()
    }
    state = {"nets": nets, "progress": asdict(progress), "made_of": _made_of(origin, recipe)}
    part = run / f"{STATE_FILE}.part"
    torch.save(state, part)
    part.replace(run / STATE_FILE)


def load_state(run: Path, trainees: Trainees, origin: str, recipe: Recipe) -> Progress:
    """Fill the nets and their optimisers; a run that never began is at its beginning.

    Raises:
        InvalidFieldError: the state is of another recipe or data set.
    """
    path = run / STATE_FILE
    if not path.exists():
        return Progress()
    state = torch.load(path, weights_only=True, map_location="cpu")
    _check_same(path, state["made_of"], _made_of(origin, recipe))
    for name, trainee in trainees.named().items():
        trainee.net.load_state_dict(state["nets"][name]["net"])
        trainee.optimiser.load_state_dict(state["nets"][name]["optimiser"])
    return Progress(**state["progress"])


def _made_of(origin: str, recipe: Recipe) -> dict[str, str]:
    return {"data": origin} | {name: repr(value) for name, value in asdict(recipe).items()}


def _check_same(path: Path, found: dict[str, Any], expected: dict[str, str]) -> None:
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise InvalidFieldError(
                f"{path}: expected {name} {expected.get(name)} as asked for now, found "
                f"{found.get(name)} in the run that stopped; "
                "give another --run-dir, or the old options"
            )
