"""The five data sets on disk by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TypeAlias

from v2vpose.datasets import hands17, icvl, itop, msra, nyu
from v2vpose.datasets.files import SetCheck
from v2vpose.datasets.frames import DiskFrames
from v2vpose.errors import InvalidFieldError

Split: TypeAlias = Literal["train", "test"]
_CHECKS: Final[dict[str, Callable[[Path], SetCheck]]] = {
    "icvl": icvl.check,
    "nyu": nyu.check,
    "msra": msra.check,
    "hands17": hands17.check,
    "itop": itop.check,
}
_READERS: Final = {"icvl": icvl.read, "nyu": nyu.read, "hands17": hands17.read}


def check_dataset(name: str, root: Path) -> SetCheck:
    """Return what lies under `root` against what the published data set has.

    Raises:
        InvalidFieldError: no such data set, or no such directory.
    """
    _check_arguments(name, root)
    return _CHECKS[name](root)


def open_dataset(
    name: str,
    root: Path,
    split: Split,
    *,
    fold: int = 3,
    view: Literal["side", "top"] = "side",
    centre_dir: Path | None = None,
) -> DiskFrames:
    """List a split of a data set; depth maps are decoded when asked for.

    Args:
        name: icvl, nyu, msra, hands17 or itop.
        root: where it lies, in its original layout.
        split: train or test.
        fold: of MSRA, the subject left out; the release's default is 3.
        view: of ITOP.
        centre_dir: where the official centre files lie; None: in `root`.

    Raises:
        InvalidFieldError: no such data set or directory, or its files do not fit together.
    """
    _check_arguments(name, root)
    centres = root if centre_dir is None else centre_dir
    if name == "msra":
        return msra.read(root, split, fold=fold, centre_dir=centres)
    if name == "itop":
        return itop.read(root, split, view=view, centre_dir=centres)
    return _READERS[name](root, split, centre_dir=centres)


def _check_arguments(name: str, root: Path) -> None:
    if name not in _CHECKS:
        raise InvalidFieldError(f"dataset must be one of {', '.join(_CHECKS)}, got {name!r}")
    if not root.is_dir():
        raise InvalidFieldError(f"root must be a directory, found none at {root}")
