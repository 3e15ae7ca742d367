"""The requests of `mlflow-artifacts`, as holdall's servers and MLflow's answer them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import cast
from urllib.parse import quote, urlsplit

from holdall.artifacts.http.addresses import ROUTE, split_address
from holdall.stores.artifact_io import Digest
from holdall.stores.entities import FileInfo
from holdall.stores.errors import HoldallError, InternalError, InvalidParameterValue
from holdall.stores.http_client import Body, HttpClient, HttpResponse, HttpUpload
from holdall.stores.representation import digest_header
from holdall.stores.tracking_errors import error_of
from holdall.stores.tracking_settings import ServerSettings
from holdall.stores.uri import StoreURI

__all__ = ["ProxiedArtifacts"]

_API = "/api/2.0"
_SUCCESS = frozenset({200, 201, 204, 206})
_UPLOAD = {"content-type": "application/octet-stream"}
_HEADS = frozenset({200, 400, 404, 405, 500, 501})
"""What servers answer to `HEAD`, which those of MLflow 2 do not know."""


class ProxiedArtifacts:
    """Artifacts below a path of a tracking server, by its requests. Safe between threads.

    Args:
        uri: `http[s]://host/api/2.0/mlflow-artifacts/artifacts/path`, options in its query.

    Attributes:
        settings: How the server is reached.
        root: Path of the artifacts there, without slashes around it.
    """

    def __init__(self, uri: StoreURI) -> None:
        prefix, self.root, known = split_address(uri)
        options = tuple(pair for pair in uri.query if pair[0] != "credentials")
        self.settings = ServerSettings.of(replace(uri, path=prefix, query=options), with_credentials=known)
        self.client = HttpClient(self.settings.origin, self.settings.connections)
        self._headers = {"user-agent": "holdall"}
        if self.settings.authorization is not None:
            self._headers["authorization"] = self.settings.authorization

    def get(self, path: str, offset: int, length: int | None) -> HttpResponse:
        """Open a file; servers of MLflow 2 give all of it, whatever the range.

        Raises:
            HoldallError: The server refuses; of what is missing, each server says something else.
        """
        headers = {"accept-encoding": "identity"}
        if offset or length is not None:
            headers["range"] = f"bytes={offset}-" + ("" if length is None else str(offset + length - 1))
        return self._send("GET", self._file(path), headers)

    def head(self, path: str) -> HttpResponse:
        """What is told of a file; the status may be one of a refusal."""
        return self._send("HEAD", self._file(path), {}, accept=_HEADS)

    def list(self, path: str) -> list[FileInfo]:
        """What a folder holds; nothing if there is none."""
        folder = "/".join(filter(None, (self.root, path)))
        query = f"?path={quote(folder, safe='')}" if folder else ""
        response = self._send("GET", f"{_API}{ROUTE}{query}", {"accept": "application/json"})
        return [_file_of(entry, path) for entry in _files(response.read())]

    def put(self, path: str, data: Body, digest: Digest) -> HttpResponse:
        """Store a small file."""
        headers = dict(_UPLOAD)
        if (header := digest_header(digest)) is not None:
            headers["repr-digest"] = header
        response = self._send("PUT", self._file(path), headers, data)
        response.read()
        return response

    def begin_put(self, path: str) -> HttpUpload:
        """Begin to store a file whose digest follows it."""
        target = self.settings.prefix + self._file(path)
        headers = {**self._headers, **_UPLOAD, "trailer": "Repr-Digest"}
        return self.settings.retries.run(lambda: self.client.begin_upload("PUT", target, headers))

    def finish_put(self, path: str, upload: HttpUpload, digest: Digest | None) -> HttpResponse:
        """End the body of a file, or of one that the server has refused already if there is no digest.

        Raises:
            HoldallError: The server refuses it.
        """
        response = upload.answer() if digest is None else upload.finish({"Repr-Digest": digest_header(digest) or ""})
        if response.status not in _SUCCESS:
            raise self._refusal("PUT", self._file(path), response)
        response.read()
        if digest is None:
            raise InternalError(f"{self._where('PUT', self._file(path))} was answered before the file had been sent.")
        return response

    def delete(self, path: str) -> None:
        """Delete a file or folder; what is missing is fine."""
        self._send("DELETE", self._file(path), {}).read()

    def _file(self, path: str) -> str:
        """The encoded path of a file, without the prefix of the server."""
        whole = "/".join(filter(None, (self.root, path)))
        return f"{_API}{ROUTE}/{quote(whole, safe='/-_.~')}"

    def _send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body | None = None,
        accept: Collection[int] = _SUCCESS,
    ) -> HttpResponse:
        return self.settings.retries.run(lambda: self._send_once(method, target, headers, body, accept))

    def _send_once(
        self, method: str, target: str, headers: Mapping[str, str], body: Body | None, accept: Collection[int]
    ) -> HttpResponse:
        whole = {**self._headers, **headers}
        response = self.client.request(method, self.settings.prefix + target, whole, body)
        if response.status in accept:
            return response
        raise self._refusal(method, target, response)

    def _refusal(self, method: str, target: str, response: HttpResponse) -> HoldallError:
        where, text = self._where(method, target), response.error_text()
        if 300 <= response.status < 400:
            # Followed, it would hand credentials and data to whoever the answer names.
            place = urlsplit(response.headers.get("Location", "")).hostname or "elsewhere"
            return InvalidParameterValue(f"{where} is redirected to {place}; open the store at its own address.")
        document = _parse(text)
        return error_of(
            response.status, document, where, retry_after=response.retry_after, secrets=self.settings.secrets
        )

    def _where(self, method: str, target: str) -> str:
        return f"{method} {self.settings.origin}{self.settings.prefix}{target}"


def _files(body: bytes) -> list[dict[str, object]]:
    document = _parse(body)
    files = document.get("files", []) if isinstance(document, dict) else None
    if not isinstance(files, list) or not all(isinstance(entry, dict) for entry in files):
        raise InternalError("The listing that the server answers is none; is this the address of a tracking server?")
    return cast("list[dict[str, object]]", files)


def _file_of(entry: Mapping[str, object], folder: str) -> FileInfo:
    name, size = entry.get("path"), entry.get("file_size") or 0
    if not isinstance(name, str) or not isinstance(size, int | str) or not str(size).isdigit():
        raise InternalError("The server lists something that is no file and no folder.")
    path = f"{folder}/{name}" if folder else name
    return FileInfo(path, is_dir=True) if entry.get("is_dir") is True else FileInfo(path, False, int(size))


def _parse(data: bytes | str) -> object:
    try:
        return cast(object, json.loads(data))
    except (ValueError, RecursionError):
        return None
