"""A store of three versions, one of them corrupt, and services on it; pipelines in this process."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.running import Running, running
from tests.serving.conftest import serve, store
from v2vpose.model_store import ModelStore

__all__ = ["launch", "serve", "store"]

Launch = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def launch(store: ModelStore, tmp_path: Path) -> Launch:
    """Run services over version 1 in processes of their own: `async with launch(...)`."""
    log = tmp_path / "service.log"
    return partial(running, store.root, log, models="hand@1", drain_delay_s=0.1)
