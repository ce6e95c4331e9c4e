"""Model versions on disk: a manifest, and one safetensors file for each epoch checkpoint."""

from v2vpose.model_store.manifest import (
    Calibration,
    Conventions,
    EpochRecord,
    FileRecord,
    HandednessJudge,
    Keypoint,
    LabelConvention,
    Manifest,
    RefinerRecord,
    Subject,
)
from v2vpose.model_store.store import ModelStore, ModelVersion
from v2vpose.model_store.write import sha256_of, write_detector, write_epoch, write_manifest

__all__ = [
    "Calibration",
    "Conventions",
    "EpochRecord",
    "FileRecord",
    "HandednessJudge",
    "Keypoint",
    "LabelConvention",
    "Manifest",
    "ModelStore",
    "ModelVersion",
    "RefinerRecord",
    "Subject",
    "sha256_of",
    "write_detector",
    "write_epoch",
    "write_manifest",
]
