"""Files of runs."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from pathlib import Path

import pytest

import holdall
from holdall.connections import ArtifactStores
from holdall.stores.errors import InvalidParameterValue, MissingExtra, NotFound

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def run(store: str) -> holdall.ActiveRun:
    return holdall.start_run()


def read(run: holdall.ActiveRun, path: str) -> bytes:
    return Path(holdall.Client().download_artifacts(run.info.run_id, path)).read_bytes()


def listed(run: holdall.ActiveRun, path: str | None = None) -> list[str]:
    return [info.path for info in holdall.Client().list_artifacts(run.info.run_id, path)]


def test_log_artifact_puts_file_at_root_or_in_folder(run: holdall.ActiveRun, folder: Path) -> None:
    (folder / "model.pkl").write_bytes(b"model")
    holdall.log_artifact("model.pkl")
    holdall.log_artifact(folder / "model.pkl", artifact_path="models")
    assert listed(run) == ["model.pkl", "models"]
    assert listed(run, "models") == ["models/model.pkl"]
    assert read(run, "models/model.pkl") == b"model"


def test_log_artifact_with_folder_keeps_its_name(run: holdall.ActiveRun, folder: Path) -> None:
    (folder / "plots").mkdir()
    (folder / "plots" / "a.txt").write_text("a")
    holdall.log_artifact("plots", artifact_path="out")
    assert listed(run, "out/plots") == ["out/plots/a.txt"]


def test_log_artifacts_puts_content_of_folder(run: holdall.ActiveRun, folder: Path) -> None:
    (folder / "plots" / "deep").mkdir(parents=True)
    (folder / "plots" / "a.txt").write_text("a")
    (folder / "plots" / "deep" / ".hidden").write_text("b")
    holdall.log_artifacts("plots")
    holdall.log_artifacts("plots", artifact_path="visualizations")
    assert listed(run) == ["a.txt", "deep", "visualizations"]
    assert read(run, "visualizations/deep/.hidden") == b"b"


def test_log_artifact_that_is_missing_raises_file_not_found(run: holdall.ActiveRun) -> None:
    with pytest.raises(FileNotFoundError):
        holdall.log_artifact("nothing")
    with pytest.raises(FileNotFoundError):
        holdall.log_artifacts("nothing")


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", "", "x/", "a//b"])
def test_log_text_to_bad_path_is_refused(run: holdall.ActiveRun, path: str) -> None:
    with pytest.raises(InvalidParameterValue):
        holdall.log_text("x", path)
    with pytest.raises(InvalidParameterValue):
        holdall.log_dict({}, path)
    assert listed(run) == []


def test_log_text_writes_utf8_and_overwrites(run: holdall.ActiveRun) -> None:
    holdall.log_text("old and long", artifact_file="models/meta data.txt")
    holdall.log_text("né\n", artifact_file="models/meta data.txt")
    assert read(run, "models/meta data.txt") == "né\n".encode()
    with pytest.raises(InvalidParameterValue):
        holdall.log_text(b"bytes", "x.txt")  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterValue):
        holdall.log_text("\ud800", "x.txt")


def test_log_dict_as_json_keeps_order_and_escapes(run: holdall.ActiveRun, folder: Path) -> None:
    holdall.log_dict({"b": 1, "a": ["é", None, folder]}, "config/hyper.json")
    assert read(run, "config/hyper.json") == (
        f'{{\n  "b": 1,\n  "a": [\n    "\\u00e9",\n    null,\n    "{folder}"\n  ]\n}}'.encode()
    )
    holdall.log_dict([1, 2], "list")
    assert json.loads(read(run, "list")) == [1, 2]
    with pytest.raises(InvalidParameterValue):
        holdall.log_dict("text", "x.json")  # type: ignore[arg-type]
    circular: dict[str, object] = {}
    circular["self"] = circular
    with pytest.raises(InvalidParameterValue):
        holdall.log_dict(circular, "x.json")


@pytest.mark.parametrize("name", ["c.yaml", "c.yml"])
def test_log_dict_as_yaml_sorts_keys_in_block_style(run: holdall.ActiveRun, folder: Path, name: str) -> None:
    holdall.log_dict({"b": {"y": (1, 2), "x": True}, "a": "é", "p": folder}, name)
    text = f'a: "\\xE9"\nb:\n  x: true\n  y:\n  - 1\n  - 2\np: {folder}\n'
    assert read(run, name).decode() == text


@pytest.mark.extras
def test_log_figure_of_matplotlib_writes_format_by_ending(run: holdall.ActiveRun) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1))
    figure.add_subplot().plot([1, 2])
    holdall.log_figure(figure, "plots/loss curve.png", save_kwargs={"dpi": 40})
    holdall.log_figure(figure, "plots/loss.svg")
    png = read(run, "plots/loss curve.png")
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20]) == 40
    assert b"<svg" in read(run, "plots/loss.svg")
    for bad in ("plot", "plot.html", "plot.nothing"):
        with pytest.raises(InvalidParameterValue):
            holdall.log_figure(figure, bad)
    with pytest.raises(InvalidParameterValue):
        holdall.log_figure(figure.axes[0], "axes.png")


@pytest.mark.extras
def test_log_figure_of_plotly_writes_html(run: holdall.ActiveRun) -> None:
    import plotly.graph_objects as go

    figure = go.Figure(go.Scatter(y=[1, 2]))
    holdall.log_figure(figure, "curve.html")
    html = read(run, "curve.html").decode()
    assert "<html>" in html
    assert re.search(r'src="https://cdn\.plot\.ly/', html)
    with pytest.raises(InvalidParameterValue):
        holdall.log_figure(figure, "curve.txt")


@pytest.mark.extras
def test_log_image_of_array_scales_by_type(run: holdall.ActiveRun, caplog: pytest.LogCaptureFixture) -> None:
    import numpy as np
    from PIL import Image

    def pixels(name: str) -> list[int]:
        with Image.open(io.BytesIO(read(run, name))) as image:
            return np.asarray(image).ravel().tolist()

    holdall.log_image(np.array([[0, 255]]), "int.png")
    holdall.log_image(np.array([[True, False]]), "bool.png")
    holdall.log_image(np.array([[0.0, 1.0]]), "unit.png")
    holdall.log_image(np.zeros((2, 1, 3), dtype=np.uint8), "rgb.png")
    holdall.log_image(np.zeros((1, 2, 1), dtype=np.uint8), "one.png")
    assert not caplog.records
    with caplog.at_level(logging.WARNING, logger="holdall"):
        holdall.log_image(np.array([[-1.0, 3.0]]), "stretched.png")
    assert "stretched" in caplog.text
    assert [pixels(f"{name}.png") for name in ("int", "bool", "unit", "stretched")] == [
        [0, 255],
        [255, 0],
        [0, 255],
        [0, 255],
    ]
    assert len(pixels("rgb.png")) == 6
    assert len(pixels("one.png")) == 2


@pytest.mark.extras
def test_log_image_that_is_none_is_refused(run: holdall.ActiveRun) -> None:
    import numpy as np
    from PIL import Image

    for bad in (
        np.array([[256]]),
        np.array([[-1]]),
        np.zeros(3),
        np.zeros((2, 2, 2)),
        np.zeros((0, 2)),
        np.array([[np.nan]]),
        np.array([["a"]]),
        "image",
    ):
        with pytest.raises(InvalidParameterValue):
            holdall.log_image(bad, "x.png")
    image = Image.new("RGBA", (2, 2))
    for name in ("x", "x.nothing", "x.jpg"):
        with pytest.raises(InvalidParameterValue):
            holdall.log_image(image, name)
    with pytest.raises(InvalidParameterValue):
        holdall.log_image(image)
    with pytest.raises(InvalidParameterValue):
        holdall.log_image(image, "x.png", key="k")
    with pytest.raises(InvalidParameterValue):
        holdall.log_image(image, "x.png", step=1)
    with pytest.raises(InvalidParameterValue):
        holdall.log_image(image, key="bad?")
    assert listed(run) == []


@pytest.mark.extras
def test_log_image_in_series_writes_full_and_small_picture(run: holdall.ActiveRun) -> None:
    from PIL import Image

    holdall.log_image(Image.new("RGB", (600, 300)), key="val/sample", step=3, timestamp=1234)
    small, full = sorted(listed(run, "images"), key=lambda path: path.endswith(".png"))
    stem = r"images/val~sample\+step\+3\+timestamp\+1234\+[0-9a-f-]{36}"
    assert re.fullmatch(stem + r"\.png", full)
    assert small == full.removesuffix(".png") + "+compressed.webp"
    with Image.open(io.BytesIO(read(run, small))) as image:
        assert image.size == (256, 128)
    assert holdall.get_run(run.info.run_id).data.tags["mlflow.loggedImages"] == "True"


def test_log_table_as_json_appends_rows_and_unites_columns(run: holdall.ActiveRun) -> None:
    holdall.log_table({"id": ["001", "002"], "score": [0.1 + 0.2, float("nan")]}, "eval/t.json")
    holdall.log_table({"id": "003", "note": "x"}, "eval/t.json")
    assert json.loads(read(run, "eval/t.json")) == {
        "columns": ["id", "score", "note"],
        "data": [["001", 0.1 + 0.2, None], ["002", None, None], ["003", None, "x"]],
    }
    tags = holdall.get_run(run.info.run_id).data.tags
    assert json.loads(tags["mlflow.loggedArtifacts"]) == [{"path": "eval/t.json", "type": "table"}]
    holdall.log_table({"a": 1}, "u.json")
    tags = holdall.get_run(run.info.run_id).data.tags
    assert [entry["path"] for entry in json.loads(tags["mlflow.loggedArtifacts"])] == ["eval/t.json", "u.json"]


def test_log_table_that_is_none_is_refused(run: holdall.ActiveRun) -> None:
    for data, name in (
        ({"a": [1]}, "t.csv"),
        ({"a": [1]}, "t[1].json"),
        ({"a": [1], "b": [1, 2]}, "t.json"),
        ([1, 2], "t.json"),
    ):
        with pytest.raises(InvalidParameterValue):
            holdall.log_table(data, name)  # type: ignore[arg-type]
    holdall.log_text("{}", "taken.json")
    with pytest.raises(InvalidParameterValue, match="no table"):
        holdall.log_table({"a": 1}, "taken.json")
    assert read(run, "taken.json") == b"{}"


@pytest.mark.extras
def test_log_table_of_frame_writes_what_pandas_reads(run: holdall.ActiveRun) -> None:
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame(
        {
            "n": np.array([1, 2], dtype=np.int64),
            "x": [0.5, None],
            "when": pd.to_datetime(["2026-01-02", "NaT"]),
            "text": ["a", "é"],
            "list": [np.array([1, 2]), [3]],
        }
    )
    holdall.log_table(frame, "frame.json")
    content = read(run, "frame.json")
    assert json.loads(content)["data"] == [
        [1, 0.5, "2026-01-02T00:00:00", "a", [1, 2]],
        [2, None, None, "é", [3]],
    ]
    again = pd.read_json(io.BytesIO(content), orient="split", dtype=False)
    assert again["n"].tolist() == [1, 2]
    assert pd.Timestamp(again["when"][0]) == frame["when"][0]


@pytest.mark.extras
def test_log_table_with_images_stores_them_beside_it(run: holdall.ActiveRun) -> None:
    from PIL import Image

    holdall.log_table({"image": [Image.new("RGB", (300, 300))], "label": ["cat"]}, "pred.json")
    [[cell, label]] = json.loads(read(run, "pred.json"))["data"]
    assert (cell["type"], label) == ("image", "cat")
    assert cell["filepath"].startswith("table_images/pred/")
    assert read(run, cell["filepath"]).startswith(b"\x89PNG")
    with Image.open(io.BytesIO(read(run, cell["compressed_filepath"]))) as image:
        assert image.size == (256, 256)


def test_get_artifact_uri_names_place_of_artifact(run: holdall.ActiveRun) -> None:
    holdall.log_text("here", "a b/c%20d.txt")
    assert holdall.get_artifact_uri() == run.info.artifact_uri
    assert Path(holdall.get_artifact_uri("a b/c%20d.txt")).read_text() == "here"
    with pytest.raises(InvalidParameterValue):
        holdall.get_artifact_uri("../other")


def test_get_artifact_uri_in_experiment_with_uri_quotes_path(store: str, folder: Path) -> None:
    location = (folder / "my files").as_uri()
    experiment_id = holdall.create_experiment("uri", artifact_location=location)
    with holdall.start_run(experiment_id=experiment_id) as run:
        holdall.log_text("here", "a b.txt")
        assert holdall.get_artifact_uri("a b.txt") == f"{location}/{run.info.run_id}/artifacts/a%20b.txt"
    assert (folder / "my files" / run.info.run_id / "artifacts" / "a b.txt").read_text() == "here"


def test_log_artifact_to_other_run_by_id_leaves_active_one_alone(store: str, folder: Path) -> None:
    with holdall.start_run() as other:
        pass
    (folder / "f.txt").write_text("f")
    with holdall.start_run() as active:
        other_id = other.info.run_id
        holdall.log_artifact("f.txt", run_id=other_id)
        holdall.log_text("x", "x.txt", run_id=other_id)
        holdall.log_dict({}, "x.json", run_id=other_id)
        holdall.log_table({"a": 1}, "t.json", run_id=other_id)
    assert listed(other) == ["f.txt", "t.json", "x.json", "x.txt"]
    assert listed(active) == []


def test_log_text_to_unknown_run_is_not_found(store: str) -> None:
    with pytest.raises(NotFound):
        holdall.log_text("x", "x.txt", run_id="0" * 32)


def test_log_text_to_deleted_run_is_accepted(run: holdall.ActiveRun) -> None:
    holdall.end_run()
    holdall.delete_run(run.info.run_id)
    holdall.log_text("late", "late.txt", run_id=run.info.run_id)
    assert listed(run) == ["late.txt"]


@pytest.mark.extras
def test_log_table_as_parquet_without_package_says_what_to_install(
    run: holdall.ActiveRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match="pip install 'pyarrow'"):
        holdall.log_table({"a": 1}, "t.parquet")


@pytest.mark.extras
def test_log_table_as_parquet_appends_rows(run: holdall.ActiveRun) -> None:
    import pandas as pd

    holdall.log_table({"id": ["001"], "score": [0.5]}, "t.parquet")
    holdall.log_table({"id": "002", "note": "x"}, "t.parquet")
    frame = pd.read_parquet(io.BytesIO(read(run, "t.parquet")))
    assert list(frame.columns) == ["id", "score", "note"]
    assert frame["id"].tolist() == ["001", "002"]
    assert frame["score"][0] == 0.5
    assert pd.isna(frame["score"][1])


def test_log_image_without_package_says_what_to_install(
    run: holdall.ActiveRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"pip install 'holdall\[client-extras\]'"):
        holdall.log_image([[0]], "x.png")


def test_lend_store_closes_oldest_unused_ones_only(folder: Path) -> None:
    stores = ArtifactStores(keep=2)
    uris = [str(folder / name) for name in "abcd"]
    with stores.lend(uris[0]) as first:
        seen = []
        for uri in uris[1:]:
            with stores.lend(uri) as other, stores.lend(uri) as same:
                assert other is same
                seen.append(other)
        first.list_artifacts()
        with pytest.raises(holdall.HoldallError):
            seen[0].list_artifacts()
        seen[-1].list_artifacts()
    stores.close()
    with pytest.raises(holdall.HoldallError):
        first.list_artifacts()
