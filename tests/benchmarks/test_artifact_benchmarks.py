"""The benchmark of transfers in small, without MLflow; times are not judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.artifacts import __main__ as program  # noqa: E402 - the folder is no installed package
from benchmarks.artifacts import contestants, copier, transfers  # noqa: E402
from benchmarks.artifacts.data import GIB, FileSet  # noqa: E402
from benchmarks.artifacts.goals import PEAK, goals  # noqa: E402
from benchmarks.artifacts.memory import MemoryReport  # noqa: E402
from benchmarks.artifacts.processes import Cost, Watch, peak_bytes, processor_seconds, run  # noqa: E402
from benchmarks.artifacts.report import Report  # noqa: E402
from benchmarks.artifacts.services import SERVICES  # noqa: E402
from benchmarks.artifacts.session import Result  # noqa: E402
from benchmarks.artifacts.sites import Site, describe  # noqa: E402
from benchmarks.artifacts.transfers import Course, Round  # noqa: E402
from benchmarks.peer import BenchmarkError  # noqa: E402

from holdall.stores import StoreURI  # noqa: E402

extras = pytest.mark.extras
SMALL, LARGE = FileSet(2000, 65536), FileSet(1, GIB)
FEW = FileSet(3, 2000)


def measured(net: float, *, peak: int = 0) -> list[Round]:
    """A round with this time."""
    return [Round(Cost(net + 1, net, 2.0, 1.0, peak), 0.5, 0.0)]


def result(files: FileSet, direction: str = "upload", **net: float) -> Result:
    """A result with these times."""
    return Result(files, direction, {name: measured(seconds) for name, seconds in net.items()})


@pytest.mark.parametrize("text", ["1x1GiB", "2000x64KiB", "5000x4KiB", "3x5B", "2x7MiB"])
def test_parse_set_that_was_written_gives_it_back(text: str) -> None:
    assert str(FileSet.parse(text)) == text


@pytest.mark.parametrize("text", ["", "5x", "x4KiB", "0x4KiB", "5x4kB", "5x4KiB ", "5x-4KiB", "5.5x4KiB"])
def test_parse_set_that_is_malformed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="COUNTxSIZE"):
        FileSet.parse(text)


def test_scale_set_takes_fewer_small_files_or_a_smaller_large_one() -> None:
    assert SMALL.scaled(0.1) == FileSet(200, 65536)
    assert LARGE.scaled(0.2) == FileSet(1, 204 << 20)
    assert SMALL.scaled(0.00001) == FileSet(1, 65536)
    assert LARGE.scaled(1.0) == LARGE


def test_cap_set_makes_larger_files_smaller() -> None:
    assert LARGE.capped(1 << 20) == FileSet(1, 1 << 20)
    assert SMALL.capped(1 << 20) == SMALL


def test_make_set_writes_the_same_files_every_time_and_no_two_alike(tmp_path: Path) -> None:
    files = FileSet(250, 10)
    files.make(tmp_path / "one")
    files.make(tmp_path / "two")
    files.check_copy(tmp_path / "one", tmp_path / "two", "the second")
    contents = {path.read_bytes() for path in (tmp_path / "one").rglob("*.bin")}
    assert len(contents) == 250
    assert {len(list(folder.iterdir())) for folder in (tmp_path / "one").iterdir()} == {100, 50}


def test_make_sparse_set_takes_no_space(tmp_path: Path) -> None:
    files = FileSet(1, 64 << 20)
    files.make(tmp_path, sparse=True)
    status = (tmp_path / files.names()[0]).stat()
    assert status.st_size == 64 << 20
    assert status.st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("damage", ["missing", "extra", "short", "other"])
def test_check_copy_that_is_not_right_says_which_file(damage: str, tmp_path: Path) -> None:
    for folder in ("original", "copy"):
        FEW.make(tmp_path / folder)
    name = FEW.names()[1]
    file = tmp_path / "copy" / name
    if damage == "missing":
        file.unlink()
    elif damage == "extra":
        name = "more.bin"
        (tmp_path / "copy" / name).write_bytes(b"1")
    elif damage == "short":
        os.truncate(file, 1999)
    else:
        file.write_bytes(b"0" * 2000)
    with pytest.raises(BenchmarkError, match=f"who of 3x2000B: .*{name}"):
        FEW.check_copy(tmp_path / "original", tmp_path / "copy", "who")


def test_run_command_that_times_itself_takes_its_word() -> None:
    code = "import json; print('noise'); print(json.dumps({'seconds': 0.001, 'cpu_before': 0.002}))"
    cost = run([sys.executable, "-c", code], dict(os.environ))
    assert cost.net_seconds == 0.001 < cost.seconds
    assert cost.net_cpu_seconds == cost.cpu_seconds - 0.002
    assert cost.peak == 0


def test_run_command_that_says_nothing_takes_all_of_its_time() -> None:
    cost = run(["/bin/sh", "-c", "read line; test $line = word"], {}, stdin="word\n")
    assert cost.net_seconds == cost.seconds
    assert cost.net_cpu_seconds == cost.cpu_seconds


def test_run_command_that_fails_says_what_it_printed() -> None:
    with pytest.raises(BenchmarkError, match=r"(?s)sh ended with exit code 3.*the reason"):
        run(["/bin/sh", "-c", "echo the reason >&2; exit 3"], {})


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    """A shell whose child, a Python process, runs `code`; both have begun."""
    words = ["/bin/sh", "-c", '"$0" -c "$1"; true', sys.executable, f"print('begun', flush=True)\n{code}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "begun\n"
        try:
            yield shell
        finally:
            os.killpg(shell.pid, 9)


def go_on(shell: subprocess.Popen[str]) -> None:
    """Let its child go on until it says so."""
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write("\n")
    shell.stdin.flush()
    assert shell.stdout.readline() == "done\n"


def test_watch_memory_of_a_child_counts_it() -> None:
    code = "input(); held = b'1' * 90_000_000; print('done', flush=True); input()"
    with running(code) as shell, Watch(shell.pid, peak_bytes) as watch:
        go_on(shell)
    assert 90_000_000 < watch.growth < watch.total


def test_watch_processor_time_of_a_child_whose_parent_has_ended_counts_it() -> None:
    code = "import time; input()\nwhile time.process_time() < 0.4: pass\nprint('done', flush=True); input()"
    with running(code) as shell, Watch(shell.pid, processor_seconds) as watch:
        os.kill(shell.pid, 9)
        go_on(shell)
    assert watch.growth > 0.2


class Recorder:
    """A copier that writes down what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []

    def upload(self, folder: Path, name: str) -> None:
        self.calls.append((f"upload {name}", os.listdir(folder)))

    def download(self, name: str, folder: Path) -> None:
        self.calls.append((f"download {name}", os.listdir(folder)))


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_measure_copier_lets_a_small_file_go_both_ways_first(direction: str, tmp_path: Path) -> None:
    (tmp_path / "real").touch()
    recorder = Recorder()
    found = copier.measure(recorder, direction, "name", tmp_path)
    (first, sent), (second, _), (last, real) = recorder.calls
    name = first.removeprefix("upload ")
    assert second == f"download {name}" != "download name"
    assert sent == ["file"]
    assert (last, real) == (f"{direction} name", ["real"])
    assert found.keys() == {"seconds", "cpu_before"}


@pytest.mark.parametrize(
    ("service", "uri", "expected"),
    [
        (
            "s3",
            "s3://KEY:SE%2FCRET@bucket?endpoint_url=http://h:1&region=r",
            {"mlflow": "s3://bucket/artifacts", "rclone": "far:bucket/artifacts"},
        ),
        ("gcs", "gs://bucket?endpoint_url=http://h:1&anonymous=true", {"mlflow": "gs://bucket/artifacts"}),
        (
            "azure",
            "wasbs://box@acc.blob.core.windows.net?endpoint_url=http://h:1/acc&account_key=a%2Bb",
            {"mlflow": "wasbs://box@acc.blob.core.windows.net/artifacts", "rclone": "far:box/artifacts"},
        ),
        ("sftp", "sftp://me@h:22/data/x?identity_file=/i&known_hosts=/k", {"sftp": "/data/x/artifacts"}),
        ("local", "/data/x", {"cp": "/data/x/artifacts", "holdall": "/data/x/artifacts"}),
    ],
)
def test_describe_site_names_the_place_for_every_contestant(
    service: str, uri: str, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    site = describe(StoreURI.parse(uri))
    assert site.roots.keys() >= {*SERVICES[service].contestants}
    assert site.roots.items() >= expected.items()
    own = StoreURI.parse(site.roots["holdall"])
    assert own == replace(StoreURI.parse(uri), path=own.path)
    assert own.path.endswith("/artifacts")
    assert "AWS_PROFILE" not in site.environment
    assert "PATH" in site.environment


def test_describe_site_of_s3_gives_every_contestant_the_secret() -> None:
    settings = describe(StoreURI.parse("s3://KEY:SE%2FCRET@bucket?endpoint_url=http://h:1&region=r")).settings
    assert settings["AWS_SECRET_ACCESS_KEY"] == settings["RCLONE_CONFIG_FAR_SECRET_ACCESS_KEY"] == "SE/CRET"


@pytest.mark.parametrize(
    ("service", "found", "missed"),
    [
        ("s3", result(SMALL, holdall=1.0, mlflow=3.1, s5cmd=0.81), []),
        ("s3", result(SMALL, holdall=1.0, mlflow=2.9, s5cmd=0.79), ["mlflow", "s5cmd"]),
        ("gcs", result(SMALL, "download", holdall=1.0, mlflow=3.9, rclone=0.1), ["mlflow"]),
        ("gcs", result(SMALL, "download", holdall=1.0, mlflow=4.1, rclone=0.1), []),
        ("s3", result(LARGE, holdall=1.0, mlflow=0.99, s5cmd=1.0, rclone=0.89, obstore=2.0), ["mlflow", "rclone"]),
        ("s3", result(LARGE, holdall=1.0, mlflow=1.0, s5cmd=1.0, rclone=0.91, obstore=2.0), []),
        ("sftp", result(LARGE, holdall=1.0, sftp=0.8, rclone=1.0), ["sftp"]),
        ("sftp", result(SMALL, holdall=1.0, sftp=0.1, rclone=0.1), []),
        ("local", result(LARGE, holdall=1.0, mlflow=0.1, rclone=0.1, cp=0.1), []),
        ("s3", result(SMALL, mlflow=1.0, s5cmd=1.0), []),
        ("s3", result(SMALL, holdall=1.0), []),
    ],
)
def test_goals_of_a_result_are_missed_where_too_slow(service: str, found: Result, missed: list[str]) -> None:
    assert [goal.rival for goal in goals(service, found) if not goal.kept] == missed
    assert len(Report(service, [found], {}).missed) == len(missed)


def test_report_writes_rates_and_processor_time_per_unit() -> None:
    report = Report("s3", [result(SMALL, holdall=4.0, s5cmd=2.0), result(LARGE, holdall=2.0)], {"server": "weed 1"})
    lines = report.markdown().splitlines()
    assert lines[2].split(" | ")[1:] == [
        "holdall",
        "4.00 s",
        "5.00 s",
        "500 files/s",
        "0.50 s/1,000",
        "0.25 s/1,000",
        "0.2 + 0.1",
        "–",
        "– |",
    ]
    assert lines[3].split(" | ")[-2:] == ["0.50×", "≥ 0.8×, missed |"]
    assert "537 MB/s | 1.00 s/GiB | 0.50 s/GiB" in lines[4]
    assert lines[6].startswith("weed 1; one round; ")
    assert report.missed == ["2000x64KiB upload: 0.50 × s5cmd, promised 0.8"]


@pytest.mark.parametrize(("peak", "missed"), [(PEAK - 1, 0), (PEAK, 1)])
def test_memory_report_lists_peaks_of_holdall_over_the_limit(peak: int, missed: int) -> None:
    rounds = {"holdall": measured(1.0, peak=peak), "mlflow": measured(1.0, peak=PEAK * 2)}
    report = MemoryReport("s3", [Result(LARGE, "upload", rounds)], {})
    assert len(report.missed) == missed
    assert "| 1x1GiB upload | mlflow | 500 MB | – |" in report.markdown()


@pytest.mark.parametrize(
    ("arguments", "unknown"),
    [
        (["--service", "gcs", "--server", "moto"], "unknown server 'moto'; known: fake-gcs"),
        (["--service", "sftp", "--sides", "holdall,mlflow"], "unknown side 'mlflow'; known: holdall, sftp, rclone"),
        (["memory", "--sides", "rclone"], "unknown side 'rclone'; known: holdall, mlflow"),
        (["--sets", "many"], "'many' is not COUNTxSIZE"),
    ],
)
def test_run_program_with_what_there_is_not_says_what_there_is(
    arguments: list[str], unknown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        program.main(arguments)
    assert unknown in capsys.readouterr().err


@extras
def test_run_program_on_disk_measures_every_contestant_in_every_round(tmp_path: Path) -> None:
    json_file, markdown_file = tmp_path / "out.json", tmp_path / "out.md"
    what = ["--service", "local", "--sides", "holdall,cp,rclone", "--sets", "130x1KiB,1x2MiB", "--rounds", "2"]
    outputs = ["--json", str(json_file), "--markdown", str(markdown_file), "--work-dir", str(tmp_path / "work")]
    assert program.main([*what, *outputs]) == 0
    found = json.loads(json_file.read_text(encoding="utf-8"))
    assert [(item["set"], item["direction"]) for item in found["transfers"]] == [
        (name, direction) for name in ("130x1KiB", "1x2MiB") for direction in ("upload", "download")
    ]
    assert all(
        {name: len(rounds) for name, rounds in item["rounds"].items()} == {"holdall": 2, "cp": 2, "rclone": 2}
        for item in found["transfers"]
    )
    assert markdown_file.read_text(encoding="utf-8").count("\n| ") == 13
    assert list((tmp_path / "work").iterdir()) == []


@extras
def test_run_program_on_a_server_takes_its_processor_time(tmp_path: Path) -> None:
    json_file = tmp_path / "out.json"
    what = ["--server", "moto", "--sides", "holdall,rclone", "--sets", "200x1KiB", "--rounds", "1", "--only", "upload"]
    assert program.main([*what, "--json", str(json_file), "--work-dir", str(tmp_path / "work")]) == 0
    found = json.loads(json_file.read_text(encoding="utf-8"))
    assert all(rounds[0]["server_seconds"] > 0 for rounds in found["transfers"][0]["rounds"].values())
    assert "moto" in found["conditions"]


@extras
def test_run_memory_program_writes_peaks(tmp_path: Path) -> None:
    json_file = tmp_path / "out.json"
    what = ["memory", "--service", "local", "--sides", "holdall", "--sets", "1x8MiB,300x1KiB", "--check"]
    assert program.main([*what, "--json", str(json_file), "--work-dir", str(tmp_path / "work")]) == 0
    found = json.loads(json_file.read_text(encoding="utf-8"))
    assert len(found["transfers"]) == 4
    assert all(5_000_000 < item["peak"] < PEAK for item in found["transfers"])


@pytest.mark.parametrize(
    ("others", "kept", "left"), [([0.9, 0.2, 0.1], 0.2, 1), ([0.9, 0.6, 0.7, 0.8, 0.1], 0.6, 1), ([0.3], 0.3, 0)]
)
def test_measure_contestant_that_others_disturb_measures_again(
    others: list[float], kept: float, left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure_once(self: Course, name: str) -> Round:
        return replace(measured(1.0)[0], others=others.pop(0))

    monkeypatch.setattr(Course, "_measure_once", measure_once)
    monkeypatch.setattr(transfers, "busy_seconds", lambda: 0.0)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    course = Course(describe(StoreURI.parse(tmp_path)), FEW, tmp_path, "upload", calm=0.3)
    assert course.measure("cp").others == kept
    assert len(others) == left


@extras
@pytest.mark.parametrize("direction", ["upload", "download"])
def test_measure_contestant_that_does_nothing_is_an_error(
    direction: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    FEW.make(source)
    course = Course(describe(StoreURI.parse(tmp_path / "place")), FEW, source, direction)
    course.prepare()
    course.measure("cp")
    monkeypatch.setattr(
        transfers, "command", lambda name, site, way, folder, far, python: lazily(site, way, folder, far)
    )
    with pytest.raises(BenchmarkError, match=f"The {direction} by idler of 3x2000B: 0 files"):
        course.measure("idler")


def lazily(site: Site, direction: str, folder: Path, far: str) -> contestants.Command:
    """A folder with nothing in it, there or here."""
    made = Path(site.roots["rclone"]) / far if direction == "upload" else folder
    return contestants.Command(["mkdir", made])


@extras
def test_run_program_with_failing_interpreter_exits_with_its_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--service", "local", "--sides", "mlflow", "--mlflow-python", str(tmp_path / "no-python")]
    assert program.main([*words, "--work-dir", str(tmp_path)]) == 2
    assert "no-python" in capsys.readouterr().err
