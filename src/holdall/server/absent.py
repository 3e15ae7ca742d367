"""What MLflow's servers have and this one has not: clients are told so by name, not that they have mistyped a path."""

from __future__ import annotations

import re

__all__ = ["absent_feature"]

_EVALUATION = "evaluation (scorers, assessments, issues, labelling, datasets of it)"
_TRACES = "traces"
_GATEWAY = "AI gateway"
_REGISTRY = "model registry"
_USERS = "API of users and permissions (they are in the file that --auth names)"

_BELOW_API = {
    "assessments": _EVALUATION,
    "assistant": "assistant",
    "comments": "comments on models",
    "datasets": _EVALUATION,
    "experiments/permissions": _USERS,
    "gateway": _GATEWAY,
    "gateway-proxy": _GATEWAY,
    "genai": _EVALUATION,
    "get-trace-artifact": _TRACES,
    "issues": _EVALUATION,
    "jobs": "jobs",
    "labeling-sessions": _EVALUATION,
    "label-schemas": _EVALUATION,
    "mcp-servers": "registry of MCP servers",
    "model-versions": _REGISTRY,
    "permissions": _USERS,
    "prompt-optimization": "optimisation of prompts",
    "prompts": "prompts",
    "registered-models": _REGISTRY,
    "roles": _USERS,
    "review-queues": _EVALUATION,
    "runs/create-promptlab-run": "prompt lab",
    "scorer": _EVALUATION,
    "scorers": _EVALUATION,
    "secrets": _GATEWAY,
    "trace": _TRACES,
    "traces": _TRACES,
    "transition-requests": _REGISTRY,
    "ui-telemetry": "telemetry",
    "users": _USERS,
    "webhooks": "webhooks",
    "workspaces": "workspaces",
}
"""By what a path begins with after `/api/<version>/mlflow/`."""

_ELSEWHERE = {
    "/gateway": _GATEWAY,
    "/graphql": "GraphQL",
    "/model-versions": _REGISTRY,
    "/signup": _USERS,
    "/v1/traces": _TRACES,
}

_API = re.compile(r"/(?:ajax-)?api/[0-9.]+/(?:preview/)?(?:mlflow/)?(.*)", re.DOTALL)


def absent_feature(path: str) -> str | None:
    """What a path would lead to on one of MLflow's servers, in words; None if it is no path of theirs either."""
    if (match := _API.fullmatch(path)) is not None:
        return _find(match[1], _BELOW_API)
    return _find(path, _ELSEWHERE)


def _find(path: str, known: dict[str, str]) -> str | None:
    return next((what for start, what in known.items() if path == start or path.startswith(f"{start}/")), None)
