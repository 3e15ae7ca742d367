"""From scheme to store: built-in ones, plugins by entry point, what is missing; and the stores around stores."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from holdall.stores import (
    BackendStore,
    InternalError,
    InvalidParameterValue,
    Metric,
    MissingExtra,
    NotFound,
    ReadOnly,
    StoreClosed,
    TemporarilyUnavailable,
    UnsupportedScheme,
    known_schemes,
    open_artifact_store,
    open_backend_store,
    open_model_registry,
    resolution,
    wrappers,
)

Install = Callable[..., None]

PLUGIN = """
from holdall.backends.memory import MemoryBackendStore

class PluginStore(MemoryBackendStore):
    pass
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution with entry points on `sys.path`, without installing it."""

    def install(name: str, modules: dict[str, str], **groups: dict[str, str]) -> None:
        folder = tmp_path / name
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        lines = []
        for group, points in groups.items():
            lines += [f"[holdall.{group}]", *(f"{scheme} = {target}" for scheme, target in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for module, source in modules.items():
            (folder / f"{module}.py").write_text(source, encoding="utf-8")
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.syspath_prepend(str(folder))

    return install


def test_open_store_of_plugin_finds_it_by_scheme(install: Install) -> None:
    install("acme", {"acme_store": PLUGIN}, backend_stores={"acme": "acme_store:PluginStore"})
    assert "acme" in known_schemes("backend")
    assert "acme_store" not in sys.modules
    with open_backend_store("acme://", artifact_root="/data") as store:
        assert type(store).__name__ == "PluginStore"
        assert str(store.artifact_root) == "/data"
        assert store.get_experiment("0").artifact_location == "/data/0"


def test_open_store_with_broken_plugin_beside_works(install: Install) -> None:
    install("broken", {"broken_store": "raise RuntimeError('boom')"}, backend_stores={"broken": "broken_store:Store"})
    install("acme", {"acme_store": PLUGIN}, backend_stores={"acme": "acme_store:PluginStore"})
    for uri in ("acme://", "memory://"):
        open_backend_store(uri).close()
    assert known_schemes("backend") == sorted(known_schemes("backend"))
    assert {"acme", "broken", "memory", "sqlite"} <= set(known_schemes("backend"))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("raise RuntimeError('boom')", "broken_store:Store"),
        ("import a_package_that_nobody_has", "broken_store:Store"),
        ("", "broken_store:Store"),
        ("", "no_such_module:Store"),
        ("syntax error", "broken_store:Store"),
    ],
)
def test_open_store_of_broken_plugin_says_whose_fault_it_is(install: Install, source: str, target: str) -> None:
    install("broken", {"broken_store": source}, backend_stores={"broken": target})
    with pytest.raises(InternalError) as caught:
        open_backend_store("broken://x")
    assert caught.value.error_code == "INTERNAL_ERROR"
    assert caught.value.__cause__ is not None
    assert "broken" in caught.value.message
    assert target in caught.value.message


def test_open_store_of_plugin_that_refuses_by_itself_passes_it_on(install: Install) -> None:
    source = "from holdall.stores import MissingExtra\nraise MissingExtra('pip install acme[fast]')"
    install("acme", {"acme_store": source}, backend_stores={"acme": "acme_store:PluginStore"})
    with pytest.raises(MissingExtra, match="acme"):
        open_backend_store("acme://")


def test_open_store_of_builtin_scheme_ignores_plugins_for_it(install: Install) -> None:
    install("thief", {"thief_store": PLUGIN}, backend_stores={"memory": "thief_store:PluginStore"})
    with open_backend_store("memory://") as store:
        assert type(store).__name__ == "MemoryBackendStore"
    assert "thief_store" not in sys.modules


def test_open_store_of_another_kind_does_not_find_it(install: Install) -> None:
    install("acme", {"acme_store": PLUGIN}, backend_stores={"acme": "acme_store:PluginStore"})
    with pytest.raises(UnsupportedScheme):
        open_artifact_store("acme://")
    with pytest.raises(UnsupportedScheme):
        open_model_registry("acme://")


@pytest.mark.parametrize("uri", ["nowhere://x", "nowhere+driver://x", "hdfs://namenode/x"])
def test_open_store_of_unknown_scheme_lists_the_known_ones(uri: str) -> None:
    for call in (open_backend_store, open_artifact_store, open_model_registry):
        with pytest.raises(UnsupportedScheme) as caught:
            call(uri)
        assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
        assert isinstance(caught.value, InvalidParameterValue)
    with pytest.raises(UnsupportedScheme, match=r"memory://.*sqlite://"):
        open_backend_store(uri)


def test_open_store_of_unknown_scheme_hides_the_password() -> None:
    with pytest.raises(UnsupportedScheme) as caught:
        open_backend_store("nowhere://user:hunter2@host/x")
    assert "hunter2" not in str(caught.value)


def builtin(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """Make `extra://` a built-in scheme that needs a package nobody has."""
    entry = resolution._Entry(target, "acme", ("a_package_that_nobody_has",))
    monkeypatch.setitem(resolution._BACKENDS.builtin, "extra", entry)


def test_open_store_without_its_extra_says_what_to_install(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("parts", {"needs_extra": "import a_package_that_nobody_has.client"})
    builtin(monkeypatch, "needs_extra:Store")
    with pytest.raises(MissingExtra, match=r"pip install 'holdall\[acme\]'") as caught:
        open_backend_store("extra://x")
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_open_store_with_another_module_missing_does_not_blame_the_extra(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("parts", {"needs_other": "import another_package_that_nobody_has"})
    builtin(monkeypatch, "needs_other:Store")
    with pytest.raises(ModuleNotFoundError) as caught:
        open_backend_store("extra://x")
    assert not isinstance(caught.value, MissingExtra)


def test_open_store_logs_what_was_opened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "holdall")
    for read_only in (False, False, True):
        open_backend_store(f"sqlite:///{tmp_path}/x.db", read_only=read_only).close()
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split(f" sqlite:///{tmp_path}")[0] for message in messages] == [
        "created",
        "opened",
        "opened read-only",
    ]


@pytest.fixture
def inner() -> BackendStore:
    """A memory store to wrap."""
    return open_backend_store("memory://")


def test_wrap_store_read_only_refuses_writes_and_reads_on(inner: BackendStore) -> None:
    run = inner.create_run("0").info.run_id
    with wrappers.ReadOnlyBackendStore(inner) as store:
        assert store.read_only
        assert store.capabilities == inner.capabilities
        assert store.get_run(run) == inner.get_run(run)
        with pytest.raises(ReadOnly) as caught:
            store.log_metric(run, Metric("m", 1.0, 1))
        assert caught.value.error_code == "PERMISSION_DENIED"
        assert inner.get_run(run).data.metrics == {}
        inner.log_metric(run, Metric("m", 1.0, 1))
        assert store.get_run(run).data.metrics == {"m": 1.0}


def test_wrap_store_with_latency_waits_before_each_operation(
    inner: BackendStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    store = wrappers.LatencyBackendStore(inner, 0.25)
    run = store.create_run("0").info.run_id
    store.log_metric(run, Metric("m", 1.0, 1))
    assert store.get_metric_history(run, "m") == [Metric("m", 1.0, 1)]
    assert waits == [0.25] * 3


def test_wrap_store_with_fault_before_loses_the_request(inner: BackendStore) -> None:
    run = inner.create_run("0").info.run_id
    lost = TemporarilyUnavailable("The request was lost.")
    store = wrappers.FaultyBackendStore(inner, before=lambda operation, _: lost if operation == "log_metric" else None)
    with pytest.raises(TemporarilyUnavailable):
        store.log_metric(run, Metric("m", 1.0, 1))
    assert store.get_run(run).data.metrics == {}


def test_wrap_store_with_fault_after_loses_the_answer_and_a_retry_is_safe(inner: BackendStore) -> None:
    run = inner.create_run("0").info.run_id
    lost = TemporarilyUnavailable("The answer was lost.")
    store = wrappers.FaultyBackendStore(inner, after=lambda _, number: lost if number == 0 else None)
    with pytest.raises(TemporarilyUnavailable):
        store.log_metric(run, Metric("m", 1.0, 1))
    store.log_metric(run, Metric("m", 1.0, 1))
    assert store.get_metric_history(run, "m") == [Metric("m", 1.0, 1)]


def test_wrap_store_validates_before_the_wrapped_one_is_asked(inner: BackendStore) -> None:
    asked: list[str] = []

    def note(operation: str, _: int) -> None:
        asked.append(operation)

    store = wrappers.FaultyBackendStore(inner, before=note)
    with pytest.raises(InvalidParameterValue):
        store.get_run("../x")
    with pytest.raises(NotFound):
        store.get_run("a" * 32)
    assert asked == ["get_run"]


def test_close_wrapper_closes_the_wrapped_store(inner: BackendStore) -> None:
    wrappers.ReadOnlyBackendStore(inner).close()
    with pytest.raises(StoreClosed):
        inner.get_experiment("0")
