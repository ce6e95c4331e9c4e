"""Weights that others trained, turned into versions of the store; no foreign code is ever run."""

from v2vpose.model_store.importers.known_sets import KNOWN_SETS, KnownSet, known_set
from v2vpose.model_store.importers.publish import KINDS, Kind, import_weights

__all__ = ["KINDS", "KNOWN_SETS", "Kind", "KnownSet", "import_weights", "known_set"]
