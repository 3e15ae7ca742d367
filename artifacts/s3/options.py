"""What a URI and the environment say about an S3 bucket."""

from __future__ import annotations

import binascii
import json
import os
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from holdall.artifacts.options import PATIENCE, TIMEOUT, choice, flag, seconds, verification
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.uri import StoreURI

__all__ = ["S3Options"]

ADDRESSING = ("auto", "path", "virtual")
CHECKSUMS = ("when_supported", "when_required")

_KNOWN: Final = (
    "acl",
    "addressing_style",
    "anonymous",
    "checksum",
    "endpoint_url",
    "extra_args",
    "patience",
    "profile",
    "public_endpoint_url",
    "region",
    "requester_pays",
    "session_token",
    "sse",
    "sse_customer_key",
    "sse_kms_key_id",
    "timeout",
    "verify",
)


@dataclass(frozen=True, slots=True, repr=False)
class S3Options:
    """How to reach a bucket; None leaves a thing to the SDK's own configuration.

    Attributes:
        access_key: Key id, from the URI's user.
        secret_key: From the URI's password.
        session_token: Of temporary credentials.
        profile: Section of the SDK's configuration files.
        anonymous: Send no credentials.
        endpoint_url: Of a service that is not AWS's.
        public_endpoint_url: Where holders of presigned URLs reach the service, if not at the endpoint.
        region: Of the bucket.
        addressing_style: One of `ADDRESSING`.
        checksum: One of `CHECKSUMS`; `when_required` for services that know no CRC32.
        extra_args: Further arguments of requests, by boto3's names, such as `ServerSideEncryption`.
        verify: Whether certificates are checked, or the file to check them with.
        timeout: Seconds to wait for the next bytes.
        patience: Seconds after a failure in which to go on trying.
    """

    access_key: str | None
    secret_key: str | None
    session_token: str | None
    profile: str | None
    anonymous: bool
    endpoint_url: str | None
    public_endpoint_url: str | None
    region: str | None
    addressing_style: str | None
    checksum: str | None
    extra_args: Mapping[str, object]
    verify: bool | str | None
    timeout: float
    patience: float

    @classmethod
    def parse(cls, uri: StoreURI) -> S3Options:
        """Read the options of a URI, then MLflow's variables for what it leaves open.

        Raises:
            InvalidParameterValue: An option is unknown, malformed, or contradicts another.
        """
        given = uri.options(*_KNOWN)
        if (uri.username is None) != (uri.password is None):
            raise InvalidParameterValue(f"{uri} needs both parts of a key: s3://KEY_ID:SECRET@bucket.")
        if "session_token" in given and uri.username is None:
            raise InvalidParameterValue(f"session_token in {uri} belongs to a key: s3://KEY_ID:SECRET@bucket.")
        anonymous = flag(given, "anonymous") or False
        if anonymous and (uri.username is not None or "profile" in given):
            raise InvalidParameterValue(f"{uri} asks for no credentials and names some; leave one of them out.")
        return cls(
            access_key=uri.username,
            secret_key=uri.password,
            session_token=given.get("session_token"),
            profile=given.get("profile"),
            anonymous=anonymous,
            endpoint_url=given.get("endpoint_url") or os.environ.get("MLFLOW_S3_ENDPOINT_URL") or None,
            public_endpoint_url=given.get("public_endpoint_url"),
            region=given.get("region"),
            addressing_style=choice(given, "addressing_style", ADDRESSING),
            checksum=choice(given, "checksum", CHECKSUMS),
            extra_args=_extra_args(given),
            verify=_verify(given),
            timeout=seconds(given, "timeout", TIMEOUT),
            patience=seconds(given, "patience", PATIENCE),
        )


def _verify(given: Mapping[str, str]) -> bool | str | None:
    ignored = os.environ.get("MLFLOW_S3_IGNORE_TLS", "").lower() in ("true", "1")
    return False if ignored and "verify" not in given else verification(given)


def _extra_args(given: Mapping[str, str]) -> dict[str, object]:
    """Arguments from MLflow's variable, then from `extra_args`, then from the options that have names of their own."""
    found: dict[str, object] = {}
    for name, text in (
        ("MLFLOW_S3_UPLOAD_EXTRA_ARGS", os.environ.get("MLFLOW_S3_UPLOAD_EXTRA_ARGS")),
        ("extra_args", given.get("extra_args")),
    ):
        found.update(_json_object(name, text) if text else {})
    for option, argument in (
        ("acl", "ACL"),
        ("sse", "ServerSideEncryption"),
        ("sse_kms_key_id", "SSEKMSKeyId"),
    ):
        if option in given:
            found[argument] = given[option]
    if "sse_customer_key" in given:
        found |= {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": _customer_key(given["sse_customer_key"])}
    if flag(given, "requester_pays"):
        found["RequestPayer"] = "requester"
    return found


def _json_object(name: str, text: str) -> dict[str, object]:
    try:
        value: object = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InvalidParameterValue(f"{name} must be a JSON object with the names of boto3's ExtraArgs.")
    return cast(dict[str, object], value)


def _customer_key(text: str) -> bytes:
    try:
        key = b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise InvalidParameterValue("Option sse_customer_key must be the base64 text of 32 bytes.")
    return key
