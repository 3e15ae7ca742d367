"""Artifacts on a server that speaks SFTP."""
