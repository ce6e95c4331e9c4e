"""The engines and pipelines of the serving tests."""

from tests.serving.conftest import serve, store

__all__ = ["serve", "store"]
