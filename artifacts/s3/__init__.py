"""Artifacts in buckets of S3, and of everything that speaks its protocol."""
