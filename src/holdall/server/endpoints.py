"""All routes of the server, in one table: `access` says who may use which."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from holdall.server import curves, experiments, logged_models, meters, openapi, pages, proxied, run_files, runs
from holdall.server.messages import Answer, Request
from holdall.server.routes import Route, below_api
from holdall.server.service import Service
from holdall.stores.errors import Unsupported

__all__ = ["all_routes"]


def all_routes(*, artifacts_only: bool = False) -> list[Route]:
    """Every route, with its whole path below the static prefix.

    Args:
        artifacts_only: Refuse what is not about artifacts that are moved through the server.
    """
    api = (*experiments.ROUTES, *runs.ROUTES, *curves.ROUTES, *logged_models.ROUTES, *run_files.ROUTES)
    tracking = [*below_api(api), *run_files.PAGE_ROUTES]
    if artifacts_only:
        tracking = _refused(tracking)
    return [*pages.ROUTES, *openapi.ROUTES, *meters.ROUTES, *tracking, *below_api(proxied.ROUTES)]


def _refused(routes: Iterable[Route]) -> list[Route]:
    return [replace(route, call=None, serve=_refuse) for route in routes]


async def _refuse(_service: Service, _request: Request) -> Answer:
    """Not served here."""
    raise Unsupported("This server moves artifacts only (--artifacts-only); ask the tracking server for this.")
