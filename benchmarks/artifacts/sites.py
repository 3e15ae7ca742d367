"""`Site`: a place on a running server, as each contestant names it and finds its way there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from holdall.stores import StoreURI

__all__ = ["Site", "describe"]

_FOREIGN = ("AWS_", "AZURE_", "GCS_", "GOOGLE_", "MLFLOW_", "RCLONE_", "S3_", "STORAGE_EMULATOR_HOST")
"""How variables begin by which a user's environment would lead contestants to other places."""

_ROOT = "artifacts"
"""Not the root of the bucket: MLflow's class for GCS cuts names short there."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a service's transfers go.

    Attributes:
        roots: The place, by contestant.
        settings: Environment variables by which contestants find it.
        sftp: Options of the program `sftp`, and the host.
        pid: The server's process; None where nothing serves.
    """

    roots: Mapping[str, str]
    settings: Mapping[str, str] = field(default_factory=dict)
    sftp: tuple[str, ...] = ()
    pid: int | None = None

    @property
    def environment(self) -> dict[str, str]:
        """For the processes of contestants."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        return kept | {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"} | dict(self.settings)


def describe(uri: StoreURI, pid: int | None = None) -> Site:
    """The site at a URI that says all that there is to know, with the server's process."""
    return _SCHEMES[uri.scheme](uri.join(_ROOT), pid)


def _s3(uri: StoreURI, pid: int | None) -> Site:
    options = dict(uri.query)
    url, region = options["endpoint_url"], options["region"]
    key, secret = uri.username or "", uri.password or ""
    place = f"{uri.host}{uri.path}"
    rclone = {"type": "s3", "provider": "Other", "endpoint": url, "region": region}
    settings = {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ENDPOINT": url,  # obstore
        "MLFLOW_S3_ENDPOINT_URL": url,
        "S3_ENDPOINT_URL": url,  # s5cmd
    }
    settings |= _far(rclone | {"access_key_id": key, "secret_access_key": secret})
    return Site(_roots(uri, place) | dict.fromkeys(("mlflow", "obstore", "s5cmd"), f"s3://{place}"), settings, pid=pid)


def _gcs(uri: StoreURI, pid: int | None) -> Site:
    url = dict(uri.query)["endpoint_url"]
    place = f"{uri.host}{uri.path}"
    far = _far({"type": "gcs", "anonymous": "true", "endpoint": f"{url}/storage/v1/"})
    return Site(_roots(uri, place) | {"mlflow": f"gs://{place}"}, far | {"STORAGE_EMULATOR_HOST": url}, pid=pid)


def _azure(uri: StoreURI, pid: int | None) -> Site:
    options = dict(uri.query)
    url, key = options["endpoint_url"], options["account_key"]
    account = uri.host.partition(".")[0]
    connection = {"DefaultEndpointsProtocol": "http", "AccountName": account, "AccountKey": key, "BlobEndpoint": url}
    settings = {"AZURE_STORAGE_CONNECTION_STRING": ";".join(f"{name}={value}" for name, value in connection.items())}
    settings |= _far({"type": "azureblob", "account": account, "key": key, "endpoint": url})
    roots = _roots(uri, f"{uri.username}{uri.path}") | {"mlflow": f"wasbs://{uri.username}@{uri.host}{uri.path}"}
    return Site(roots, settings, pid=pid)


def _sftp(uri: StoreURI, pid: int | None) -> Site:
    options = dict(uri.query)
    key, known = options["identity_file"], options["known_hosts"]
    user, port = uri.username or "", str(uri.port)
    rclone = {"type": "sftp", "host": uri.host, "port": port, "user": user, "shell_type": "none"}
    far = _far(rclone | {"key_file": key, "known_hosts_file": known})
    sftp = ("-F", "none", "-P", port, "-i", key, "-o", f"UserKnownHostsFile={known}", f"{user}@{uri.host}")
    return Site(_roots(uri, uri.path) | {"sftp": uri.path}, far, sftp, pid)


def _local(uri: StoreURI, pid: int | None) -> Site:
    return Site(dict.fromkeys(("holdall", "mlflow", "cp", "rclone"), uri.path), pid=pid)


_SCHEMES: dict[str, Callable[[StoreURI, int | None], Site]] = {
    "s3": _s3,
    "gs": _gcs,
    "wasbs": _azure,
    "sftp": _sftp,
    "file": _local,
}


def _roots(uri: StoreURI, place: str) -> dict[str, str]:
    return {"holdall": uri.render(hide_password=False), "rclone": f"far:{place}"}


def _far(options: Mapping[str, str]) -> dict[str, str]:
    """Variables that tell rclone what `far:` is."""
    return {f"RCLONE_CONFIG_FAR_{name.upper()}": value for name, value in options.items()}
