"""The contracts: what a store is, whatever it is made of.

This package imports no backend and no third-party SDK. `open_backend_store`, `open_artifact_store` and
`open_model_registry` find the implementation by URI scheme.
"""

from holdall.stores.artifact_abilities import MultipartUploads, PresignedURLs
from holdall.stores.artifact_io import ArtifactUpload, ArtifactWriter, Digest, OpenedArtifact
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
    LoggedModelInput,
    LoggedModelMetric,
    LoggedModelOutput,
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
    RunOutputs,
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
    Unauthenticated,
    Unsupported,
    UnsupportedScheme,
)
from holdall.stores.logged_models import LoggedModelStore, as_logged_model_store
from holdall.stores.model_registry import ModelRegistry
from holdall.stores.paths import join_artifact_path, validate_artifact_path
from holdall.stores.problems import Problem, ProblemKind
from holdall.stores.resolution import known_schemes, open_artifact_store, open_backend_store, open_model_registry
from holdall.stores.transfers import LocalFileNotFound, ProgressCallback, TransferProgress
from holdall.stores.uri import StoreURI

__all__ = [
    "HTTP_STATUS",
    "AlreadyExists",
    "ArtifactCapabilities",
    "ArtifactStore",
    "ArtifactUpload",
    "ArtifactWriter",
    "BackendStore",
    "Capabilities",
    "DataLoss",
    "Dataset",
    "DatasetInput",
    "Digest",
    "Experiment",
    "ExperimentTag",
    "FileInfo",
    "HoldallError",
    "InputTag",
    "InternalError",
    "InvalidParameterValue",
    "LifecycleStage",
    "LocalFileNotFound",
    "LoggedModel",
    "LoggedModelInput",
    "LoggedModelMetric",
    "LoggedModelOutput",
    "LoggedModelStatus",
    "LoggedModelStore",
    "Metric",
    "MissingExtra",
    "ModelRegistry",
    "ModelVersion",
    "MultipartUploads",
    "NotFound",
    "OpenedArtifact",
    "PagedList",
    "Param",
    "PresignedURLs",
    "Problem",
    "ProblemKind",
    "ProgressCallback",
    "ReadOnly",
    "RegisteredModel",
    "Run",
    "RunData",
    "RunInfo",
    "RunInputs",
    "RunOutputs",
    "RunStatus",
    "RunTag",
    "StoreClosed",
    "StoreURI",
    "TemporarilyUnavailable",
    "TransferProgress",
    "Unauthenticated",
    "Unsupported",
    "UnsupportedScheme",
    "ViewType",
    "as_logged_model_store",
    "join_artifact_path",
    "known_schemes",
    "open_artifact_store",
    "open_backend_store",
    "open_model_registry",
    "validate_artifact_path",
]
