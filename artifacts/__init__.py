"""Artifact stores: where files are kept. Opened by URI with `holdall.stores.open_artifact_store`."""
