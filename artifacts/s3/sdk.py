"""What is left to the SDK: credentials, endpoints and addressing, names of headers, presigned URLs."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import boto3
import botocore.loaders
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from holdall.artifacts.s3.options import S3Options
from holdall.artifacts.s3.signing import Credentials
from holdall.stores.errors import InvalidParameterValue

__all__ = ["BucketAddress", "S3Sdk"]


class _Member(Protocol):
    serialization: Mapping[str, str]


class _Shape(Protocol):
    members: Mapping[str, _Member]


class _Operation(Protocol):
    input_shape: _Shape


class _ServiceModel(Protocol):
    def operation_model(self, name: str) -> _Operation: ...


class _ClientConfig(Protocol):
    request_checksum_calculation: str | None


class _Meta(Protocol):
    service_model: _ServiceModel
    region_name: str
    config: _ClientConfig


class _Client(Protocol):
    meta: _Meta

    def generate_presigned_url(self, method: str, **arguments: object) -> str: ...


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """Where a bucket is.

    Attributes:
        origin: Scheme, host and port.
        path: Encoded path of the bucket, without a slash at its end.
        region: Of the endpoint.
    """

    origin: str
    path: str
    region: str


class S3Sdk:
    """boto3, asked for what it knows best; it makes no request.

    Args:
        options: How to reach the bucket.
        bucket: Its name.

    Raises:
        InvalidParameterValue: boto3 refuses the options.
    """

    def __init__(self, options: S3Options, bucket: str) -> None:
        self._options = options
        self._bucket = bucket
        try:
            core = botocore.session.Session(profile=options.profile)
            core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
            self._session = boto3.Session(
                botocore_session=core,
                aws_access_key_id=options.access_key,
                aws_secret_access_key=options.secret_key,
                aws_session_token=options.session_token,
                region_name=options.region,
            )
            self._unsigned = self._client(UNSIGNED, options.endpoint_url)
        except (BotoCoreError, ValueError) as error:
            raise InvalidParameterValue(f"The options for S3 do not fit together: {error}") from error

    @property
    def credentials(self) -> Credentials | None:
        """What the session's chain of providers found."""
        return cast(Credentials | None, self._session.get_credentials())

    def find_credentials(self) -> Credentials | None:
        """Search again for what `credentials` found first; a program or a person may have renewed it."""
        if self._options.access_key is not None:
            return self.credentials
        core = botocore.session.Session(profile=self._options.profile)
        return cast(Credentials | None, core.get_credentials())

    @property
    def region(self) -> str:
        """The region of the endpoint."""
        return self._unsigned.meta.region_name

    @property
    def checksum(self) -> str:
        """When to send checksums: the option, else the SDK's configuration."""
        return self._options.checksum or self._unsigned.meta.config.request_checksum_calculation or "when_supported"

    @property
    def certificates(self) -> bool | str:
        """Whether to check certificates, or the file to check them with: the option, else the SDK's configuration."""
        if self._options.verify is not None:
            return self._options.verify
        bundle: object = self._session._session.get_config_variable("ca_bundle")
        return str(bundle) if bundle else True

    def address(self, region: str | None = None) -> BucketAddress:
        """Where the bucket is reached, as the SDK's rules for endpoints have it.

        Args:
            region: Another region than that of the options.

        Raises:
            InvalidParameterValue: The name of the bucket is malformed.
        """
        client = self._unsigned if region is None else self._client(UNSIGNED, self._options.endpoint_url, region)
        try:
            url = client.generate_presigned_url("head_bucket", Params={"Bucket": self._bucket})
        except (BotoCoreError, ValueError) as error:
            raise InvalidParameterValue(f"{self._bucket!r} is no name of a bucket: {error}") from error
        parts = urlsplit(url)
        return BucketAddress(f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/"), client.meta.region_name)

    def headers(self, operation: str, arguments: Mapping[str, object]) -> dict[str, str]:
        """The headers of an operation that some of `arguments` mean there; the others do not concern it.

        Args:
            operation: Its name in the API, such as `UploadPart`.
            arguments: By boto3's names.
        """
        members = self._unsigned.meta.service_model.operation_model(operation).input_shape.members
        found: dict[str, str] = {}
        for name, value in arguments.items():
            place = members[name].serialization if name in members else {}
            if place.get("location") == "header":
                found[place["name"].lower()] = _header_value(name, value)
            elif place.get("location") == "headers" and isinstance(value, Mapping):
                found |= {f"{place['name']}{key}".lower(): str(item) for key, item in value.items()}
        if isinstance(key := arguments.get("SSECustomerKey"), str | bytes) and "SSECustomerKey" in members:
            raw = key.encode() if isinstance(key, str) else key
            digest = hashlib.md5(raw, usedforsecurity=False).digest()
            found["x-amz-server-side-encryption-customer-key-md5"] = b64encode(digest).decode()
        return found

    def applicable(self, operation: str, arguments: Mapping[str, object]) -> dict[str, object]:
        """Those of `arguments` that an operation has."""
        members = self._unsigned.meta.service_model.operation_model(operation).input_shape.members
        return {name: value for name, value in arguments.items() if name in members}

    def require_known(self, arguments: Mapping[str, object]) -> None:
        """Refuse arguments that uploads do not have.

        Raises:
            InvalidParameterValue: There is such a one.
        """
        members = self._unsigned.meta.service_model.operation_model("PutObject").input_shape.members
        for name in arguments:
            if name not in members or name in ("Body", "Bucket", "Key"):
                raise InvalidParameterValue(f"Uploads to S3 have no argument {name!r}; see boto3's ExtraArgs.")

    def presign(self, operation: str, expires_in: int, **arguments: object) -> str:
        """A URL that lets its holder carry out an operation.

        Args:
            operation: In boto3's spelling, such as `upload_part`.
            expires_in: Seconds.
            arguments: By boto3's names, the bucket excepted.
        """
        return self._presigner.generate_presigned_url(
            operation, Params={"Bucket": self._bucket, **arguments}, ExpiresIn=expires_in
        )

    @cached_property
    def _presigner(self) -> _Client:
        return self._client("s3v4", self._options.public_endpoint_url or self._options.endpoint_url)

    def _client(self, signature: object, endpoint_url: str | None, region: str | None = None) -> _Client:
        style = self._options.addressing_style
        settings: dict[str, Any] = {"s3": {"addressing_style": style}} if style else {}
        config = Config(signature_version=cast(str, signature), **settings)
        region = region or self._session.region_name or "us-east-1"
        return cast(_Client, self._session.client("s3", endpoint_url=endpoint_url, region_name=region, config=config))


@lru_cache
def _loader(data_path: str | None) -> object:
    """The SDK's descriptions of services, which it would read from the disk for each session: 100 ms for S3."""
    return botocore.loaders.create_loader(data_path)


def _header_value(name: str, value: object) -> str:
    if name in ("SSECustomerKey", "CopySourceSSECustomerKey"):
        raw = value.encode() if isinstance(value, str) else value
        if not isinstance(raw, bytes):
            raise InvalidParameterValue(f"{name} must be text or bytes.")
        return b64encode(raw).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
