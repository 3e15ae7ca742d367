"""Where bad items are reported: each is a warning once, and a line of whatever list is being made."""

from __future__ import annotations

import logging
import threading

from holdall.backends.file.keyed import Reporter
from holdall.stores.problems import Problem, ProblemKind

__all__ = ["ProblemLog"]

logger = logging.getLogger("holdall")

_MOST_WARNINGS = 100


class ProblemLog:
    """Collects problems, each once; safe to share between threads.

    Args:
        uri: The store, for warnings; None for a log that only collects.
    """

    def __init__(self, uri: str | None = None) -> None:
        self._uri = uri
        self._lock = threading.Lock()
        self._problems: dict[tuple[str, str, str], Problem] = {}

    def add(self, problem: Problem) -> None:
        """Report a problem; the same again changes nothing."""
        identity = problem.kind, problem.path, problem.message
        with self._lock:
            if identity in self._problems:
                return
            known = len(self._problems)
            if self._uri is not None and known > _MOST_WARNINGS:
                return
            self._problems[identity] = problem
        if self._uri is None:
            return
        if known < _MOST_WARNINGS:
            logger.warning("%s: %s", self._uri, problem)
        else:
            logger.warning("%s: has more problems; 'holdall info' lists them all", self._uri)

    def reporter(self, prefix: str, experiment_id: str | None = None, run_id: str | None = None) -> Reporter:
        """Reports what is found below a folder.

        Args:
            prefix: The folder, from the root.
            experiment_id: The experiment it is of.
            run_id: The run it is of.
        """

        def report(kind: ProblemKind, path: str, message: str) -> None:
            whole = f"{prefix}/{path}".removesuffix("/.") if prefix else path
            shown = whole.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")  # names are bytes
            self.add(Problem(kind, shown, message, experiment_id, run_id))

        return report

    def problems(self) -> list[Problem]:
        """All that was reported, by path."""
        with self._lock:
            return sorted(self._problems.values(), key=lambda problem: (problem.path, problem.kind, problem.message))
