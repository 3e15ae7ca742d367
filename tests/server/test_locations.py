"""Which locations of artifacts a server keeps and opens: the tricks of the field's CVEs, each as a case."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdall.server.locations import is_within, require_allowed_location, roots_of
from holdall.server.options import ServerOptions
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.uri import StoreURI

pytestmark = pytest.mark.extras

OPTIONS = ServerOptions(
    default_artifact_root="s3://lab/root?endpoint_url=https://minio.lab:9000",
    artifacts_destination="sftp://ml@disk.lab:2222/data/artifacts",
)
LOCAL = ServerOptions(artifacts_destination="/srv/artifacts")
PROXIED = replace(LOCAL, default_artifact_root="https://ml.lab/artifacts")

ALLOWED = """
    /data/runs data/runs ./data/runs file:///data/runs FILE:///data/runs file:/data/runs file://localhost/data/runs
    /data/a%20b /data/a;b /data/a#b /data/a?b /data/…/é /data/run:1 s3://bucket s3://bucket/ s3://bucket/prefix/
    S3://bucket/prefix gs://bucket/prefix mlflow-artifacts:/ mlflow-artifacts:/exp/1 mlflow-artifacts:///exp/1
""".split()

REFUSED = [
    # a host of somebody's choice
    *"http://evil/x https://evil/x HTTPS://evil/x hTTp://evil/x ftp://evil/x ftps://evil/x sftp://evil/x".split(),
    *"sftp://ml@evil/data hdfs://evil/x viewfs://evil/x r2://evil/x b2://evil/x gopher://evil/x dav://evil/x".split(),
    *"wasbs://c@evil.blob.core.windows.net/x abfss://c@evil.dfs.core.windows.net/x abfs://c@evil/x wasb://c@evil/".split(),
    *"mlflow-artifacts://evil/x mlflow-artifacts://evil:5000/x mlflow-artifacts://u:p@evil/x".split(),
    *"mlflow-artifacts://:5000/x mlflow-artifacts://@/x mlflow-artifacts:/x?y=1 MLFLOW-ARTIFACTS://evil/x".split(),
    "s3://bucket/x?endpoint_url=http://evil/",
    "s3://bucket/x?public_endpoint_url=http://evil/",
    "s3://key:secret@bucket/x",
    "s3://bucket:9000/x",
    "gs://bucket/x?endpoint_url=http://evil/",
    "s3+evil://bucket/x",
    # CVE-2023-2356, 2023-2780: an authority before a local path
    *"file://evil/x file://./etc file://../etc file://evil/../../etc file://127.0.0.1/etc file://[::1]/etc".split(),
    *"file://%2e/etc file://localhost:80/etc file://u@localhost/etc file://\\etc".split(),
    # CVE-2023-6909, 2024-1483, 2024-1593, 2024-8859: what joins would leave behind
    *"http:///?/../../../etc/ http:///#/../../../etc/ http:///;/../../../etc/ file:///x?/../../etc".split(),
    *"file:///x#/../../etc s3://bucket/x#/../../etc mlflow-artifacts:/x#/../etc mlflow-artifacts:/x;/../etc".split(),
    *"mlflow-artifacts:/x;y dbfs:/x?/../etc dbfs:/x#y s3://bucket/x?a".split(),
    # CVE-2024-1558, 2023-6831, 2024-1560: dots, plain and encoded any number of times
    *"../etc a/../../etc a/.. /srv/artifacts/../../etc file:///srv/../etc s3://bucket/../x s3://bucket/a/../x".split(),
    *"file:///a/%2e%2e/etc file:///a/%2E%2E%2fetc file:///a/%252e%252e/etc file:///a/%25252e%25252e/etc".split(),
    *"a/%2e%2e/etc a/%252e%252e%252fetc s3://bucket/%2e%2e/x s3://bucket/%252e%252e/x s3://b/%25252e%25252e/x".split(),
    *"mlflow-artifacts:/../x mlflow-artifacts:/%2e%2e/x mlflow-artifacts:/a/%252e%252e/x".split(),
    *"mlflow-artifacts:/a/%2e%2e%2f%2e%2e%2fetc a%2f..%2fetc".split(),
    # CVE-2023-3765, 2023-6753: Windows
    *"C:\\x C:/x c:x \\\\srv\\share \\..\\x a\\..\\..\\x file:///C:/x file:///a\\..\\x s3://bucket/a\\..\\x".split(),
    # CVE-2023-6977: network paths
    *"//proc/self/root //evil/x file:////proc/self/root ///etc".split(),
    # CVE-2024-3573: spellings of schemes
    *"://x 1s3://b/x s3:/b/x s3:b file:x file:// file: http: http:// http:/x runs:/a models:/a/1 dbfs:/x".split(),
    " file:///x",
    "file:///x ",
    "\tfile:///x",
    " /etc",
    "file :///x",
    "",
    " ",
    # characters
    "a\0b",
    "file:///a%00b",
    "a\nb",
    "s3://bucket/a%0ab",
    "s3://bucket/%ff",
    "s3://bucket/%zz",
    "s3://buc%6bet/%",
    "s3://bucket/\ud800",
    "a/" + "b" * 300,
    "/".join("a" * 400),
]


@pytest.mark.parametrize("location", ALLOWED)
def test_check_location_that_names_no_host_passes(location: str) -> None:
    require_allowed_location(LOCAL, location)


@pytest.mark.parametrize("location", REFUSED, ids=ascii)
@pytest.mark.parametrize("options", [OPTIONS, LOCAL], ids=["remote", "local"])
def test_check_location_of_known_trick_raises(location: str, options: ServerOptions) -> None:
    with pytest.raises(InvalidParameterValue):
        require_allowed_location(options, location)


@pytest.mark.parametrize(
    ("options", "location"),
    [
        (OPTIONS, "s3://lab/root/x?endpoint_url=https://minio.lab:9000"),
        (OPTIONS, "sftp://ml@disk.lab:2222/data/artifacts/x"),
        (PROXIED, "https://ml.lab/artifacts/x"),
    ],
)
def test_check_location_below_root_with_host_passes(options: ServerOptions, location: str) -> None:
    require_allowed_location(options, location)


@pytest.mark.parametrize(
    "location",
    """
    s3://lab/root/x?endpoint_url=https://evil:9000 s3://lab/rooted?endpoint_url=https://minio.lab:9000
    sftp://disk.lab:2222/data/artifacts/x sftp://root@disk.lab:2222/data/artifacts/x sftp://ml@disk.lab/data/artifacts/x
    sftp://ml@disk.lab:2222/data/artifactsx sftp://ml@disk.lab:2222/data sftp://ml@disk.lab.evil:2222/data/artifacts/x
    sftp://ml@disk.lab:2222/ sftp://ml@disk.lab:22/data/artifacts/x sftp://ml:guess@disk.lab:2222/data/artifacts/x
    sftp://ml@disk.lab:2222//data/artifacts/x sftp+x://ml@disk.lab:2222/data/artifacts/x
    sftp://evil@ml@disk.lab:2222/data/artifacts/x sftp://ml@disk.lab:2222@evil/data/artifacts/x
    """.split(),
)
def test_check_location_beside_root_with_host_raises(location: str) -> None:
    with pytest.raises(InvalidParameterValue):
        require_allowed_location(OPTIONS, location)


@pytest.mark.parametrize(
    "location", ["http://ml.lab/artifacts", "https://ml.lab:443/artifacts/x", "https://ml.lab/artifacts/x?a=b"]
)
def test_check_location_of_other_scheme_port_or_query_raises(location: str) -> None:
    with pytest.raises(InvalidParameterValue):
        require_allowed_location(PROXIED, location)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("/srv/artifacts", True),
        ("/srv/artifacts/", True),
        ("/srv/artifacts/a/b", True),
        ("file:///srv/artifacts/a", True),
        ("/srv/artifacts/../artifacts/a", True),
        ("/srv/artifactsx", False),
        ("/srv", False),
        ("/", False),
        ("/srv/artifacts/../etc", False),
        ("/proc/self/root/srv/artifacts", False),
        ("s3://srv/artifacts", False),
    ],
)
def test_compare_place_with_local_root_tells_what_is_below(place: str, expected: bool) -> None:
    assert is_within(StoreURI.parse(place).absolute(), StoreURI.parse("/srv/artifacts")) is expected


def test_compare_place_behind_symlink_out_of_root_is_not_within(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    (outside / "a").mkdir(parents=True)
    (root / "link").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    (root / "inner").symlink_to(root)
    top = StoreURI.parse(root)
    assert not is_within(StoreURI.parse(root / "link"), top)
    assert not is_within(StoreURI.parse(root / "link" / "a"), top)
    assert is_within(StoreURI.parse(root / "inner" / "a"), top)
    assert is_within(StoreURI.parse(root / "new" / "a"), top)


def test_compare_place_with_root_that_is_a_symlink_is_within(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    root = StoreURI.parse(tmp_path / "root")
    assert is_within(StoreURI.parse(tmp_path / "root" / "run"), root)
    assert not is_within(StoreURI.parse(tmp_path / "disk" / "run"), root)


def test_list_roots_are_those_of_the_operator() -> None:
    assert [str(root) for root in roots_of(replace(LOCAL, serve_artifacts=False))] == []
    assert [str(root) for root in roots_of(LOCAL)] == ["/srv/artifacts"]
    assert len(roots_of(OPTIONS)) == 2
