"""The contracts: what a store is, whatever it is made of.

This package imports no backend and no third-party SDK. `open_backend_store`, `open_artifact_store` and
`open_model_registry` find the implementation by URI scheme.
"""

from holdall.stores.artifacts import ArtifactStore
from holdall.stores.backend import BackendStore
from holdall.stores.capabilities import ArtifactCapabilities, Capabilities
from holdall.stores.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    ExperimentTag,
    FileInfo,
    InputTag,
    LifecycleStage,
    LoggedModel,
    LoggedModelStatus,
    Metric,
    ModelVersion,
    PagedList,
    Param,
    RegisteredModel,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunStatus,
    RunTag,
    ViewType,
)
from holdall.stores.errors import (
    HTTP_STATUS,
    AlreadyExists,
    DataLoss,
    HoldallError,
    InternalError,
    InvalidParameterValue,
    MissingExtra,
    NotFound,
    ReadOnly,
    StoreClosed,
    TemporarilyUnavailable,
    Unsupported,
    UnsupportedScheme,
)
from holdall.stores.logged_models import LoggedModelStore
from holdall.stores.model_registry import ModelRegistry
from holdall.stores.resolution import known_schemes, open_artifact_store, open_backend_store, open_model_registry
from holdall.stores.uri import StoreURI

__all__ = [
    "HTTP_STATUS",
    "AlreadyExists",
    "ArtifactCapabilities",
    "ArtifactStore",
    "BackendStore",
    "Capabilities",
    "DataLoss",
    "Dataset",
    "DatasetInput",
    "Experiment",
    "ExperimentTag",
    "FileInfo",
    "HoldallError",
    "InputTag",
    "InternalError",
    "InvalidParameterValue",
    "LifecycleStage",
    "LoggedModel",
    "LoggedModelStatus",
    "LoggedModelStore",
    "Metric",
    "MissingExtra",
    "ModelRegistry",
    "ModelVersion",
    "NotFound",
    "PagedList",
    "Param",
    "ReadOnly",
    "RegisteredModel",
    "Run",
    "RunData",
    "RunInfo",
    "RunInputs",
    "RunStatus",
    "RunTag",
    "StoreClosed",
    "StoreURI",
    "TemporarilyUnavailable",
    "Unsupported",
    "UnsupportedScheme",
    "ViewType",
    "known_schemes",
    "open_artifact_store",
    "open_backend_store",
    "open_model_registry",
]
