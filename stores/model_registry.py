"""`ModelRegistry`: the contract of a store of registered models and their versions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from holdall.stores.base import Store
from holdall.stores.entities import ModelVersion, PagedList, RegisteredModel

__all__ = ["ModelRegistry"]


class ModelRegistry(Store):
    """Registered models, their numbered versions, stages, aliases and tags.

    **Threads and processes.** As for the `BackendStore` of the same URI.

    **Versions.** A version's number is the highest ever used for the name plus one, deleted versions included, also
    under concurrency. Stages are `None`, `Staging`, `Production`, `Archived`, in any letter case on the way in.

    **Aliases.** Letters, digits, `_` and `-`, at most 255 characters; `latest` and `v<number>` are reserved in any
    letter case. An alias points to one version of its model; deleting the version deletes the alias. Every read path
    returns the aliases.

    **Errors.** A missing model, version or alias is `NotFound`, a taken name `AlreadyExists`, anything malformed
    `InvalidParameterValue`.

    **Not promised.** That a version's source exists: that is for whoever resolves it to check.
    """

    @abstractmethod
    def create_registered_model(
        self, name: str, tags: Mapping[str, str] | None = None, description: str | None = None
    ) -> RegisteredModel:
        """Create a model without versions.

        Args:
            name: At most 256 characters, not blank, without `/` and `:`.
            tags: Values by key; keys of at most 250, values of at most 100000 characters.
            description: At most 5000 characters.
        """

    @abstractmethod
    def get_registered_model(self, name: str) -> RegisteredModel:
        """The model of this name with its aliases and the highest version of each stage."""

    @abstractmethod
    def update_registered_model(self, name: str, description: str | None) -> RegisteredModel:
        """Replace the description."""

    @abstractmethod
    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        """Rename, keeping versions, tags and aliases; its own name is accepted."""

    @abstractmethod
    def delete_registered_model(self, name: str) -> None:
        """Delete the model with its versions, tags and aliases; a new one of the name starts at version 1."""

    @abstractmethod
    def search_registered_models(
        self,
        filter_string: str | None = "",
        max_results: int = 100,
        order_by: Sequence[str] | None = (),
        page_token: str | None = None,
    ) -> PagedList[RegisteredModel]:
        """A page of the models that a filter finds, by name unless ordered otherwise."""

    @abstractmethod
    def set_registered_model_tag(self, name: str, key: str, value: str) -> None:
        """Set a tag, overwriting it."""

    @abstractmethod
    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Delete a tag; a missing one is accepted."""

    @abstractmethod
    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        run_link: str | None = None,
        description: str | None = None,
    ) -> ModelVersion:
        """Create the next version, with stage `None` and status READY.

        Args:
            name: An existing model.
            source: Where the model's files are: `runs:/<run id>/<path>`, `models:/<name>/<version>`, any artifact URI.
            run_id: The run that made it; not checked to exist.
            tags: Values by key.
            run_link: A URL of the run elsewhere.
            description: At most 5000 characters.
        """

    @abstractmethod
    def get_model_version(self, name: str, version: int) -> ModelVersion:
        """One version with its tags and aliases."""

    @abstractmethod
    def update_model_version(self, name: str, version: int, description: str | None) -> ModelVersion:
        """Replace the description."""

    @abstractmethod
    def transition_model_version_stage(
        self, name: str, version: int, stage: str, archive_existing_versions: bool = False
    ) -> ModelVersion:
        """Move a version to a stage.

        Args:
            name: The model.
            version: Its version.
            stage: Target stage.
            archive_existing_versions: Move the other versions of `Staging` or `Production` to `Archived`; refused for
                other target stages.
        """

    @abstractmethod
    def delete_model_version(self, name: str, version: int) -> None:
        """Delete a version in whatever stage, with its aliases; the number is never used again."""

    @abstractmethod
    def get_latest_versions(self, name: str, stages: Sequence[str] | None = None) -> list[ModelVersion]:
        """The highest version of each stage asked for; of all stages by default."""

    @abstractmethod
    def search_model_versions(
        self,
        filter_string: str | None = "",
        max_results: int = 10000,
        order_by: Sequence[str] | None = (),
        page_token: str | None = None,
    ) -> PagedList[ModelVersion]:
        """A page of the versions that a filter finds, the last updated first unless ordered otherwise."""

    @abstractmethod
    def set_model_version_tag(self, name: str, version: int, key: str, value: str) -> None:
        """Set a tag, overwriting it."""

    @abstractmethod
    def delete_model_version_tag(self, name: str, version: int, key: str) -> None:
        """Delete a tag; a missing one is accepted."""

    @abstractmethod
    def set_registered_model_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias to an existing version, moving it if it is in use."""

    @abstractmethod
    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Delete an alias; a missing one is accepted."""

    @abstractmethod
    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        """The version that an alias points to."""

    @abstractmethod
    def get_model_version_download_uri(self, name: str, version: int) -> str:
        """Where the files of a version are, with `models:/` sources resolved as they were at its creation."""
