"""Artifacts in buckets of Google Cloud Storage."""
