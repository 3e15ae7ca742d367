"""Endpoints of the artifacts of runs and logged models, wherever these keep them."""

from __future__ import annotations

from contextlib import AsyncExitStack

from holdall.server.downloads import send_file
from holdall.server.fields import INT64, TEXT, Arguments, Field, optional, parse_arguments, required
from holdall.server.messages import Answer, Request, parse_query
from holdall.server.places import artifacts_at, lend_artifacts_at
from holdall.server.proxied import as_presigning, files_json, presigned_headers
from holdall.server.routes import Access, Route
from holdall.server.runs import RUN_ID
from holdall.server.service import Service
from holdall.server.streaming import receive_file
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.logged_models import as_logged_model_store
from holdall.stores.paths import join_artifact_path, validate_artifact_path

__all__ = ["PAGE_ROUTES", "ROUTES"]

LARGEST_SIMPLE_UPLOAD = 10 << 20

DEFAULT_VALIDITY = 900
"""Seconds."""

_MODEL_ID = required("model_id", TEXT)
_PATH = required("path", TEXT)
_MODEL_FILE_PATH = required("artifact_file_path", TEXT)


def list_run_files(service: Service, given: Arguments) -> object:
    """What a folder of a run holds, by paths from the run's root."""
    return _listed(service, _run_uri(service, given.text("run_id")), given.text("path"))


def list_model_files(service: Service, given: Arguments) -> object:
    """What a folder of a logged model holds, by paths from the model's root."""
    return _listed(service, _model_uri(service, given.text("model_id")), given.text("artifact_directory_path"))


async def get_run_file(service: Service, request: Request) -> Answer:
    """A file of a run."""
    given = _query(request, RUN_ID, _PATH)
    uri = await service.run(lambda: _run_uri(service, given.text("run_id")), slow=False)
    return await _sent(service, request, uri, given.text("path"))


async def get_model_file(service: Service, request: Request) -> Answer:
    """A file of a logged model."""
    given = _query(request, _MODEL_FILE_PATH)
    uri = await service.run(lambda: _model_uri(service, request.arguments["model_id"]), slow=False)
    return await _sent(service, request, uri, given.text("artifact_file_path"))


async def upload_run_file(service: Service, request: Request) -> Answer:
    """Store a small file of a run."""
    given = parse_query(request.query)
    for name in ("run_uuid", "path"):
        if not given.get(name):
            raise InvalidParameterValue(f"Request must specify {name}.")
    if request.headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in request.headers:
        raise InvalidParameterValue("Request must specify data.")
    run_id, path = str(given["run_uuid"]), validate_artifact_path(str(given["path"]), file=True)
    uri = await service.run(lambda: _run_uri(service, run_id), slow=False)
    async with lend_artifacts_at(service, uri) as (store, folder):
        await receive_file(service, request, store, join_artifact_path(folder, path), LARGEST_SIMPLE_UPLOAD)
    return Answer(headers=(), body=b"")


def presign_upload(service: Service, given: Arguments) -> object:
    """A URL for storing a file of a run, or of a logged model, in its storage directly."""
    model_id = given.text("model_id")
    uri = _model_uri(service, model_id) if model_id else _run_uri(service, given.text("run_id"))
    path = validate_artifact_path(given.text("path"), file=True)
    with artifacts_at(service, uri) as (store, folder):
        signed = as_presigning(store).presign_upload(
            join_artifact_path(folder, path), expires_in=given.integer("expiration", DEFAULT_VALIDITY)
        )
    return {"presigned_url": signed.url, "headers": presigned_headers(signed)}


def presign_download(service: Service, given: Arguments) -> object:
    """A URL for fetching a file of a run from its storage directly."""
    path = validate_artifact_path(given.text("path"), file=True)
    with artifacts_at(service, _run_uri(service, given.text("run_id"))) as (store, folder):
        signed = as_presigning(store).presign_download(
            join_artifact_path(folder, path), expires_in=given.integer("expiration", DEFAULT_VALIDITY)
        )
    return {"presigned_url": signed.url, "headers": presigned_headers(signed), "file_size": signed.file_size}


def _listed(service: Service, uri: str, path: str) -> dict[str, object]:
    path = validate_artifact_path(path)
    with artifacts_at(service, uri) as (store, folder):
        files = store.list_artifacts(join_artifact_path(folder, path))
    return {"root_uri": uri, **files_json(files, folder)}


async def _sent(service: Service, request: Request, uri: str, path: str) -> Answer:
    path = validate_artifact_path(path, file=True)
    stack = AsyncExitStack()  # closed when the file has been sent
    try:
        store, folder = await stack.enter_async_context(lend_artifacts_at(service, uri))
        return await send_file(service, request, store, join_artifact_path(folder, path), stack.aclose)
    except BaseException:
        await stack.aclose()
        raise


def _query(request: Request, *fields: Field) -> Arguments:
    return parse_arguments(fields, parse_query(request.query))


def _run_uri(service: Service, run_id: str) -> str:
    return service.store.get_run(run_id).info.artifact_uri


def _model_uri(service: Service, model_id: str) -> str:
    return as_logged_model_store(service.store).get_logged_model(model_id).artifact_location


_SIGNED = (optional("expiration", INT64), optional("model_id", TEXT))

ROUTES = (
    Route(
        "GET",
        "/mlflow/artifacts/list",
        Access.READ,
        list_run_files,
        fields=(RUN_ID, optional("path", TEXT), optional("page_token", TEXT)),
        slow=True,
        answers=("root_uri", "files"),
    ),
    Route(
        "POST",
        "/mlflow/artifacts/presigned-upload-url",
        Access.WRITE,
        presign_upload,
        fields=(optional("run_id", TEXT), _PATH, *_SIGNED),
        slow=True,
        answers=("presigned_url", "headers"),
    ),
    Route(
        "POST",
        "/mlflow/artifacts/presigned-download-url",
        Access.READ,
        presign_download,
        fields=(required("run_id", TEXT), _PATH, _SIGNED[0]),
        slow=True,
        answers=("presigned_url", "headers", "file_size"),
    ),
    Route(
        "GET",
        "/mlflow/logged-models/{model_id}/artifacts/directories",
        Access.READ,
        list_model_files,
        fields=(_MODEL_ID, optional("artifact_directory_path", TEXT), optional("page_token", TEXT)),
        slow=True,
        answers=("root_uri", "files"),
    ),
)
"""Below every prefix of the API."""

PAGE_ROUTES = (
    Route("GET", "/get-artifact", Access.READ, serve=get_run_file, fields=(RUN_ID, _PATH)),
    Route("POST", "/ajax-api/2.0/mlflow/upload-artifact", Access.WRITE, serve=upload_run_file),
    Route(
        "GET",
        "/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files",
        Access.READ,
        serve=get_model_file,
        fields=(_MODEL_FILE_PATH,),
    ),
)
"""With their whole paths."""
