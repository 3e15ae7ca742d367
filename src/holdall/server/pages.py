"""Endpoints for people and for monitoring: the front page, health, version, what the server is."""

from __future__ import annotations

from dataclasses import asdict
from html import escape

import holdall
from holdall.server.messages import Answer, Request, json_answer
from holdall.server.routes import Access, Route
from holdall.server.service import Service

__all__ = ["ROUTES"]

SPEAKS = "3.17.2"
"""MLflow's release whose API is spoken; its clients ask for the version of the server."""

_TEXT = ((b"content-type", b"text/plain; charset=utf-8"),)
_HTML = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
)


async def health(_service: Service, _request: Request) -> Answer:
    """The worker is there."""
    return Answer(headers=_TEXT, body=b"OK")


async def ready(service: Service, _request: Request) -> Answer:
    """The store answers."""
    await service.run(service.require_ready, slow=True)
    return Answer(headers=_TEXT, body=b"OK")


async def version(_service: Service, _request: Request) -> Answer:
    """The release of MLflow whose API is spoken."""
    return Answer(headers=_TEXT, body=SPEAKS.encode())


async def server_info(service: Service, _request: Request) -> Answer:
    """What the server can do."""
    artifacts = service.artifacts.capabilities if service.artifacts is not None else None
    multipart = artifacts is not None and artifacts.multipart
    presigned = artifacts is not None and artifacts.presigned_urls
    return json_answer(
        {
            "store_type": "SqlStore" if service.store.capabilities.database else "FileStore",
            "workspaces_enabled": False,
            "multipart_uploads_enabled": multipart,
            "multipart_downloads_enabled": presigned,
            "holdall": {"version": holdall.__version__, "capabilities": asdict(service.store.capabilities)},
        }
    )


async def front_page(service: Service, _request: Request) -> Answer:
    """A short page: what is served."""
    served = str(service.artifacts.uri) if service.artifacts is not None else "not served"
    facts = {
        "Version": holdall.__version__,
        "Experiments and runs": str(service.store.uri),
        "Artifacts": served,
    }
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
    prefix = escape(service.options.static_prefix)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>holdall</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}"
        "th{text-align:left;padding-right:1.5rem;font-weight:600}</style>"
        f"<h1>holdall</h1><table>{rows}</table>"
        f'<p>The API is MLflow\'s REST API; it is described in <a href="{prefix}/openapi.json">openapi.json</a>. '
        f"Point a client at this address: <code>MLFLOW_TRACKING_URI</code>, <code>set_tracking_uri</code>.</p></html>"
    )
    return Answer(headers=_HTML, body=page.encode())


ROUTES = (
    Route("GET", "/", Access.READ, serve=front_page),
    Route("GET", "/health", Access.PUBLIC, serve=health),
    Route("GET", "/ready", Access.PUBLIC, serve=ready),
    Route("GET", "/version", Access.PUBLIC, serve=version),
    Route("GET", "/api/3.0/mlflow/server-info", Access.READ, serve=server_info),
    Route("GET", "/ajax-api/3.0/mlflow/server-info", Access.READ, serve=server_info),
)
"""With their whole paths."""
