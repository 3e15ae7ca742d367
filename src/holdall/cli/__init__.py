"""The command line: `holdall --help`."""

from __future__ import annotations

from holdall.cli.app import app, main

__all__ = ["app", "main"]
