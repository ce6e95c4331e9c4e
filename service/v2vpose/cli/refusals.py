"""What the package refuses becomes one line on stderr and exit code 1."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import typer

FAILED: Final = 1


@contextmanager
def refusals() -> Iterator[None]:
    """Turn a refusal of the package into one line and an exit code."""
    from v2vpose.errors import PoseError

    try:
        yield
    except PoseError as error:
        fail(str(error))


def fail(text: str) -> NoReturn:
    """Print one line on stderr; exit code 1."""
    print(f"v2vpose: {text}", file=sys.stderr)
    raise typer.Exit(FAILED)
