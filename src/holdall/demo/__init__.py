"""`holdall demo`: a real training sweep through the fluent calls, into whatever stores are named."""

from __future__ import annotations

from holdall.demo.surroundings import require_packages
from holdall.demo.sweep import DemoReport, Trial, run_sweep

__all__ = ["DemoReport", "Trial", "require_packages", "run_sweep"]
