"""Endpoints of artifacts that clients move through the server: `mlflow-artifacts`."""

from __future__ import annotations

from typing import cast

from holdall.backends.http.codec import file_json
from holdall.server.downloads import send_file
from holdall.server.fields import INT64, TEXT, Arguments, many, message, optional, required
from holdall.server.messages import Answer, Request
from holdall.server.places import served_artifacts
from holdall.server.routes import Access, Route
from holdall.server.service import Service
from holdall.server.streaming import receive_file
from holdall.stores.artifact_abilities import CompletedPart, MultipartUploads, PresignedURL, PresignedURLs
from holdall.stores.artifacts import ArtifactStore
from holdall.stores.entities import FileInfo
from holdall.stores.errors import InvalidParameterValue, Unsupported
from holdall.stores.paths import join_artifact_path, validate_artifact_path

__all__ = ["ROUTES", "as_presigning", "files_json", "presigned_headers"]

_ARTIFACTS = "/mlflow-artifacts/artifacts"
_FILE = f"{_ARTIFACTS}/{{path:path}}"
_MULTIPART = "/mlflow-artifacts/mpu"
_PATH = required("path", TEXT)


async def download(service: Service, request: Request) -> Answer:
    """A file, or a range of it."""
    return await send_file(service, request, served_artifacts(service), request.arguments["path"], _keep_open)


async def upload(service: Service, request: Request) -> Answer:
    """Store a file; it appears whole or not at all."""
    digest = await receive_file(service, request, served_artifacts(service), request.arguments["path"])
    answer = Answer()
    return answer if digest is None else Answer(headers=(*answer.headers, (b"repr-digest", digest.encode())))


async def delete(service: Service, request: Request) -> Answer:
    """Delete a file, or a folder with all that it holds; what is not there is fine."""
    store, path = served_artifacts(service), validate_artifact_path(request.arguments["path"])
    if not path:
        raise InvalidParameterValue("Invalid path: name what is to be deleted.")
    await service.transfers.run(lambda: store.delete_artifacts(path))
    return Answer()


def list_files(service: Service, given: Arguments) -> object:
    """What a folder holds, by paths relative to it."""
    path = validate_artifact_path(given.text("path"))
    return files_json(served_artifacts(service).list_artifacts(path), path)


def create_multipart_upload(service: Service, given: Arguments) -> object:
    """Begin an upload in parts, which go to the storage directly."""
    path, store = _target(given), _as_multipart(served_artifacts(service))
    uploads = store.create_multipart_upload(path, given.integer("num_parts", 1))
    credentials = [
        {"url": part.url, "part_number": part.part_number, "headers": dict(part.headers)} for part in uploads.parts
    ]
    return {"upload_id": uploads.upload_id, "credentials": credentials}


def complete_multipart_upload(service: Service, given: Arguments) -> object:
    """Make the file of an upload in parts appear."""
    path, store = _target(given), _as_multipart(served_artifacts(service))
    store.complete_multipart_upload(path, given.text("upload_id"), given.items("parts", CompletedPart))
    return {}


def abort_multipart_upload(service: Service, given: Arguments) -> object:
    """Drop an upload in parts."""
    path, store = _target(given), _as_multipart(served_artifacts(service))
    store.abort_multipart_upload(path, given.text("upload_id"))
    return {}


def presign_download(service: Service, given: Arguments) -> object:
    """A URL for fetching a file from the storage directly."""
    path = validate_artifact_path(given.text("path"), file=True)
    signed = as_presigning(served_artifacts(service)).presign_download(path)
    return {"url": signed.url, "headers": presigned_headers(signed), "file_size": signed.file_size}


def files_json(files: list[FileInfo], folder: str) -> dict[str, object]:
    """A listing with paths relative to a folder."""
    start = len(folder) + 1 if folder else 0
    found = [file_json(FileInfo(file.path[start:], file.is_dir, file.file_size)) for file in files]
    return {"files": found} if found else {}


def presigned_headers(signed: PresignedURL) -> dict[str, str]:
    """What must be sent with a URL."""
    return dict(signed.headers)


def as_presigning(store: ArtifactStore) -> PresignedURLs:
    """The store as one that signs.

    Raises:
        Unsupported: It does not.
    """
    if not store.capabilities.presigned_urls:
        raise Unsupported("Presigned URLs are not supported for the current artifact repository; use plain requests.")
    return cast(PresignedURLs, store)


def _as_multipart(store: ArtifactStore) -> MultipartUploads:
    if not store.capabilities.multipart:
        # Clients look for how this begins, and then send the file in one request.
        raise Unsupported(
            "Multipart upload is not supported for the current artifact repository; send the file in one request."
        )
    return cast(MultipartUploads, store)


def _target(given: Arguments) -> str:
    """The folder of the path, and the name of the file, which is sent as the path that it has at the client."""
    name = validate_artifact_path(given.text("path").rpartition("/")[2], file=True)
    return join_artifact_path(given.text("folder"), name)


async def _keep_open() -> None:
    """The served artifacts stay open."""


_PART = message(
    required("part_number", INT64),
    required("etag", TEXT),
    optional("url", TEXT),
    make=lambda given: CompletedPart(given.integer("part_number", 0), given.text("etag"), given.maybe_text("url")),
)
_FOLDER = optional("folder", TEXT)
_UPLOAD = (_FOLDER, _PATH, required("upload_id", TEXT))

ROUTES = (
    Route(
        "GET",
        _ARTIFACTS,
        Access.READ,
        list_files,
        fields=(optional("path", TEXT),),
        slow=True,
        answers=("files",),
    ),
    Route("GET", _FILE, Access.READ, serve=download),
    Route("PUT", _FILE, Access.WRITE, serve=upload),
    Route("DELETE", _FILE, Access.WRITE, serve=delete),
    Route(
        "POST",
        f"{_MULTIPART}/create/{{folder:path}}",
        Access.WRITE,
        create_multipart_upload,
        fields=(_FOLDER, _PATH, optional("num_parts", INT64)),
        slow=True,
        answers=("upload_id", "credentials"),
    ),
    Route(
        "POST",
        f"{_MULTIPART}/complete/{{folder:path}}",
        Access.WRITE,
        complete_multipart_upload,
        fields=(*_UPLOAD, required("parts", many(_PART))),
        slow=True,
    ),
    Route(
        "POST",
        f"{_MULTIPART}/abort/{{folder:path}}",
        Access.WRITE,
        abort_multipart_upload,
        fields=_UPLOAD,
        slow=True,
    ),
    Route(
        "GET",
        "/mlflow-artifacts/presigned/{path:path}",
        Access.READ,
        presign_download,
        fields=(_PATH,),
        slow=True,
        answers=("url", "headers", "file_size"),
    ),
)
"""Below every prefix of the API."""
