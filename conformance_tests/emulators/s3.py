"""`S3Server`: what the servers of S3 have in common."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import BinaryIO, ClassVar, NotRequired, Protocol, TypedDict, cast

from holdall.conformance_tests.emulators.server import new_name
from holdall.conformance_tests.emulators.storage import RawPlace, StorageServer
from holdall.stores import InternalError, StoreURI

__all__ = ["Bucket", "S3Server"]

_REGION = "us-east-1"
_BATCH = 1000


class _Entry(TypedDict):
    Key: str
    UploadId: str


class _Object(TypedDict):
    Body: BinaryIO


class _Listing(TypedDict):
    """Names of what comes next are there if there is more."""

    Contents: NotRequired[Sequence[_Entry]]
    Uploads: NotRequired[Sequence[_Entry]]
    IsTruncated: bool
    NextContinuationToken: str
    NextKeyMarker: str
    NextUploadIdMarker: str


class _Deletion(TypedDict):
    Errors: NotRequired[Sequence[object]]


class _Client(Protocol):
    """What is used of botocore's client, which is made at run time."""

    def create_bucket(self, **arguments: object) -> object: ...
    def delete_bucket(self, **arguments: object) -> object: ...
    def put_object(self, **arguments: object) -> object: ...
    def get_object(self, **arguments: object) -> _Object: ...
    def delete_objects(self, **arguments: object) -> _Deletion: ...
    def list_objects_v2(self, **arguments: object) -> _Listing: ...
    def list_multipart_uploads(self, **arguments: object) -> _Listing: ...
    def abort_multipart_upload(self, **arguments: object) -> object: ...


class S3Server(StorageServer):
    """A server of S3 in the region us-east-1.

    Attributes:
        access_key: Of the one account; random.
        secret_key: Of that account; random, with the characters that real ones hold.
    """

    scheme = "s3"
    _modules: ClassVar[tuple[tuple[str, str], ...]] = (("botocore", "boto3"),)

    def __init__(self, flags: Sequence[str] = ()) -> None:
        super().__init__(flags)
        self.access_key = f"AKIA{secrets.token_hex(8).upper()}"
        self.secret_key = f"{secrets.token_hex(16)}/+{secrets.token_hex(3)}"

    def create_place(self) -> str:
        name = new_name().replace("_", "-")
        self._client().create_bucket(Bucket=name)
        return name

    def uri(self, place: str, *, port: int | None = None) -> str:
        options = {"endpoint_url": self._url(port), "region": _REGION, "addressing_style": "path"}
        query = tuple(options.items())
        uri = StoreURI(self.scheme, None, self.access_key, self.secret_key, host=place, query=query)
        return uri.render(hide_password=False)

    def raw(self, place: str) -> RawPlace:
        return Bucket(self._client(), place)

    def _client(self, *, patient: bool = True) -> _Client:
        return _new_client(self._url(), self.access_key, self.secret_key, os.getpid(), patient)


class Bucket(RawPlace):
    """A bucket by its client."""

    def __init__(self, client: _Client, name: str) -> None:
        self._client, self._name = client, name

    def write(self, path: str, data: bytes) -> None:
        self._client.put_object(Bucket=self._name, Key=path, Body=data)

    def read(self, path: str) -> bytes | None:
        from botocore.exceptions import ClientError

        try:
            with self._client.get_object(Bucket=self._name, Key=path)["Body"] as body:
                return body.read()
        except ClientError as error:
            if _code(error) in ("NoSuchKey", "NoSuchBucket"):
                return None
            raise

    def unfinished(self) -> list[str]:
        return sorted(upload["Key"] for upload in self._uploads())

    def list(self) -> set[str]:
        return {key for keys in self._pages() for key in keys}

    def remove(self) -> None:
        from botocore.exceptions import ClientError

        try:
            for upload in list(self._uploads()):
                which = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                self._client.abort_multipart_upload(Bucket=self._name, **which)
            self._delete(self._pages())
            self._client.delete_bucket(Bucket=self._name)
        except ClientError as error:
            if _code(error) != "NoSuchBucket":
                raise

    def _pages(self) -> Iterator[Sequence[str]]:
        more: dict[str, str] = {}
        while True:
            page = self._client.list_objects_v2(Bucket=self._name, MaxKeys=_BATCH, **more)
            yield [entry["Key"] for entry in page.get("Contents", ())]
            if not page["IsTruncated"]:
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _uploads(self) -> Iterator[_Entry]:
        more: dict[str, str] = {}
        while True:
            page = self._client.list_multipart_uploads(Bucket=self._name, **more)
            yield from page.get("Uploads", ())
            if not page["IsTruncated"]:
                return
            more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def _delete(self, pages: Iterable[Sequence[str]]) -> None:
        for keys in pages:
            if keys:
                batch = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
                errors = self._client.delete_objects(Bucket=self._name, Delete=batch).get("Errors")
                if errors:
                    raise InternalError(f"The bucket of a test cannot be emptied: {errors}")


@lru_cache(maxsize=16)
def _new_client(url: str, access_key: str, secret_key: str, process: int, patient: bool) -> _Client:
    """A client for all threads of a process, whose connections no forked child may use.

    A patient one asks a server again that fails or is busy.
    """
    from botocore.config import Config
    from botocore.session import Session

    # No proxies, no profile and no file of settings, whatever the environment says.
    retries, seconds = (4, 60) if patient else (0, 5)
    config = Config(
        proxies={},
        connect_timeout=seconds,
        read_timeout=seconds,
        retries={"max_attempts": retries},
        s3={"addressing_style": "path"},
    )
    nothing = (None, None, None, None)
    session = Session(session_vars={"profile": nothing, "config_file": nothing})
    session.set_credentials(access_key, secret_key)
    return cast(_Client, session.create_client("s3", region_name=_REGION, endpoint_url=url, config=config))


def _code(error: Exception) -> str:
    response = cast(dict[str, dict[str, str]], getattr(error, "response", {}))
    return response.get("Error", {}).get("Code", "")
