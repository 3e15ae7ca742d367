"""Folders in the layout of MLflow's file store."""

from holdall.backends.file.store import FileBackendStore

__all__ = ["FileBackendStore"]
