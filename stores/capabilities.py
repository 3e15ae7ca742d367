"""What a store can do, as data: consulted by the server, the migrator and the conformance suite."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ArtifactCapabilities", "Capabilities"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Abilities of a `BackendStore`.

    The conformance suite selects its tests by these flags, so a flag that is off is a published limitation. It says
    what the *storage* cannot do; a method that is merely not written yet has no flag.

    Attributes:
        persistent: What was acknowledged is there when the same URI is opened again.
        multi_process: Several processes may write at once.
        atomic_batches: A crash in the middle of `log_batch` leaves all of it or nothing.
        crash_safe: What was acknowledged survives `kill -9` of the writer.
        concurrent_creation: N processes may open the same new store at once.
        negative_zero: −0.0 keeps its sign.
        exact_names: Names that differ only in what collations ignore (letter case, accents, trailing blanks) may stand
            side by side. Names are found exactly in any case.
        datasets: `log_inputs` is supported.
        logged_models: The store is a `LoggedModelStore` too.
        database: The store is a `DatabaseStore` too.
        restores_by_cause: `restore_experiment` leaves runs alone that were deleted by hand before the experiment was.
        remote: Calls wait for a network, so that many at once take little longer than one.
        max_experiment_id: Greatest experiment id that can be kept, as a number.
    """

    persistent: bool = True
    multi_process: bool = True
    atomic_batches: bool = True
    crash_safe: bool = True
    concurrent_creation: bool = True
    negative_zero: bool = True
    exact_names: bool = True
    datasets: bool = True
    logged_models: bool = False
    database: bool = False
    restores_by_cause: bool = True
    remote: bool = False
    max_experiment_id: int = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ArtifactCapabilities:
    """Abilities of an `ArtifactStore`.

    Attributes:
        persistent: What was written is there when the same URI is opened again.
        empty_directories: A folder without files can exist.
        atomic_replace: Overwriting shows readers the old file or the new one, never a mixture.
        arbitrary_names: Every file name that the validator accepts is kept exactly.
        native_digests: The service keeps a digest, so that verification costs no second read.
        presigned_urls: Supports `PresignedURLs`.
        multipart: Supports `MultipartUploads`.
    """

    persistent: bool = True
    empty_directories: bool = False
    atomic_replace: bool = True
    arbitrary_names: bool = True
    native_digests: bool = False
    presigned_urls: bool = False
    multipart: bool = False
