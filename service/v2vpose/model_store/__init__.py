"""Model versions on disk: a manifest, and one safetensors file for each epoch checkpoint."""

from v2vpose.model_store.manifest import (
    Conventions,
    EpochRecord,
    FileRecord,
    Keypoint,
    LabelConvention,
    Manifest,
    RefinerRecord,
    Subject,
)
from v2vpose.model_store.store import ModelStore, ModelVersion
from v2vpose.model_store.write import sha256_of, write_epoch, write_localiser, write_manifest

__all__ = [
    "Conventions",
    "EpochRecord",
    "FileRecord",
    "Keypoint",
    "LabelConvention",
    "Manifest",
    "ModelStore",
    "ModelVersion",
    "RefinerRecord",
    "Subject",
    "sha256_of",
    "write_epoch",
    "write_localiser",
    "write_manifest",
]
