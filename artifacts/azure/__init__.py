"""Artifacts in containers of Azure Blob Storage, Data Lake accounts included."""
