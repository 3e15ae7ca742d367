"""Ways in which a folder can be wrong: how to break a small one, what is found then, and what stays readable."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tests.backends.folders import Grove

from holdall.stores import ProblemKind

__all__ = ["CASES", "Case", "Shows"]

Harm = Callable[[Grove], object]
MALFORMED, MISSING, MISPLACED = ProblemKind.MALFORMED, ProblemKind.MISSING, ProblemKind.MISPLACED
UNREADABLE, FOREIGN, DUPLICATE = ProblemKind.UNREADABLE, ProblemKind.FOREIGN, ProblemKind.DUPLICATE

RUN_META = "{e}/{r}/meta.yaml"
EXPERIMENT_META = "{e}/meta.yaml"
ANOTHER = "0123456789abcdef0123456789abcdef"


class Shows(Enum):
    """What is readable of the broken run `victim` and its experiment."""

    EVERYTHING = "the run as it was"
    RUN = "the run, without the bad item"
    NO_RUN = "the experiment without the run"
    NO_EXPERIMENT = "neither"


@dataclass(frozen=True, slots=True)
class Case:
    """One defect.

    Attributes:
        name: What it is.
        harm: Breaks a folder.
        problems: What is found: kind and path; `{e}`, `{o}`, `{d}` and `{r}` stand for the experiments and the run.
        shows: What stays readable of the run.
        is_met: Whether reading comes upon it, and warns.
        without_trash: Whether it takes the deleted experiment with it; then the folder is opened read-only.
    """

    name: str
    harm: Harm
    problems: tuple[tuple[ProblemKind, str], ...]
    shows: Shows
    is_met: bool = True
    without_trash: bool = False

    def expected(self, grove: Grove) -> list[tuple[ProblemKind, str]]:
        """The problems with real ids, by path."""
        ids = {"e": grove.experiment, "o": grove.other, "d": grove.deleted, "r": grove.victim}
        return sorted(((kind, path.format(**ids)) for kind, path in self.problems), key=lambda item: item[1])


def _put(where: str, content: bytes) -> Harm:
    """Write a file below the root; folders are made."""

    def harm(grove: Grove) -> None:
        path = _at(grove, where)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return harm


def _change(where: str, before: bytes, after: bytes) -> Harm:
    def harm(grove: Grove) -> None:
        path = _at(grove, where)
        text = path.read_bytes()
        assert before in text
        path.write_bytes(text.replace(before, after))

    return harm


def _field(where: str, key: str, value: bytes | None) -> Harm:
    """Set a field of a `meta.yaml`, or remove it."""

    def harm(grove: Grove) -> None:
        path = _at(grove, where)
        lines = [line for line in path.read_bytes().splitlines(True) if not line.startswith(key.encode() + b":")]
        path.write_bytes(b"".join(lines) + (b"" if value is None else b"%s: %s\n" % (key.encode(), value)))

    return harm


def _append(where: str, content: bytes) -> Harm:
    def harm(grove: Grove) -> None:
        with _at(grove, where).open("ab") as file:
            file.write(content)

    return harm


def _remove(where: str) -> Harm:
    def harm(grove: Grove) -> None:
        path = _at(grove, where)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return harm


def _replace_by(where: str, make: Callable[[Path], object]) -> Harm:
    """Put something else in the place of a file or a folder."""

    def harm(grove: Grove) -> None:
        path = _at(grove, where)
        if path.exists():
            _remove(where)(grove)
        make(path)

    return harm


def _link(where: str, target: str) -> Harm:
    return _replace_by(where, lambda path: path.symlink_to(target))


def _copy(source: str, target: str, *, move: bool = False) -> Harm:
    def harm(grove: Grove) -> None:
        shutil.copytree(_at(grove, source), _at(grove, target))
        if move:
            shutil.rmtree(_at(grove, source))

    return harm


def _everywhere(name: str, content: bytes) -> Harm:
    def harm(grove: Grove) -> None:
        for folder in (grove.root, *grove.root.rglob("*")):
            if folder.is_dir():
                (folder / name).write_bytes(content)

    return harm


def _at(grove: Grove, where: str) -> Path:
    return grove.root / where.format(e=grove.experiment, o=grove.other, d=grove.deleted, r=grove.victim)


def _make(where: str) -> Harm:
    def harm(grove: Grove) -> None:
        _at(grove, where).mkdir()

    return harm


def _all(*harms: Harm) -> Harm:
    def harm(grove: Grove) -> None:
        for one in harms:
            one(grove)

    return harm


def _bad_run(name: str, harm: Harm, kind: ProblemKind = MALFORMED) -> Case:
    return Case(f"run: {name}", harm, ((kind, RUN_META),), Shows.NO_RUN)


def _bad_experiment(name: str, harm: Harm, kind: ProblemKind = MALFORMED) -> Case:
    return Case(f"experiment: {name}", harm, ((kind, EXPERIMENT_META),), Shows.NO_EXPERIMENT)


def _bad_item(name: str, harm: Harm, path: str, kind: ProblemKind = MALFORMED) -> Case:
    return Case(name, harm, ((kind, f"{{e}}/{path}"),), Shows.RUN)


def _foreign(name: str, harm: Harm, *paths: str, kind: ProblemKind = FOREIGN) -> Case:
    return Case(f"foreign: {name}", harm, tuple((kind, path) for path in paths), Shows.EVERYTHING, is_met=False)


META_TEXTS: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n\n",
    "not YAML": b"a: [1\nb: }",
    "a list": b"- a\n- b\n",
    "a text": b"hello",
    "number as key": b"1: 2\n",
    "not UTF-8": b"name: \xff\xfe\n",
    "UTF-16": "name: x\n".encode("utf-16"),
    "NULs": b"\0" * 300,
    "an object": b"a: !!python/object/apply:os.system ['true']\n",
    "no number": b"a: !!int ''\n",
    "no float": b"a: !!float ''\n",
    "no truth": b"a: !!bool perhaps\n",
    "no time": b"a: !!timestamp never\n",
    "no date": b"a: 2020-13-45\n",
    "huge number": b"a: " + b"9" * 5000 + b"\n",
    "nested": b"a: " + b"[" * 5000 + b"\n",
    "its own alias": b"a: &a [*a]\n? *a\n: 1\n",
}
"""Contents of a `meta.yaml` that say nothing."""

OF_EXPERIMENTS = ("empty", "not YAML", "a list", "not UTF-8", "no truth", "nested")
"""Those of them that are tried on experiments too; the parser is the same."""

META_THINGS: dict[str, Callable[[Path], object]] = {
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to a good one": lambda path: path.symlink_to("../meta.yaml"),
    "a link to itself": lambda path: path.symlink_to("meta.yaml"),
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
}
"""What may be in the place of a `meta.yaml`."""

RUN_FIELDS: dict[str, tuple[str, bytes | None]] = {
    "status unknown text": ("status", b"DONE"),
    "status unknown number": ("status", b"9"),
    "status list": ("status", b"[3]"),
    "start_time text": ("start_time", b"yesterday"),
    "start_time float": ("start_time", b"1.5"),
    "start_time negative": ("start_time", b"-1"),
    "start_time huge": ("start_time", b"9223372036854775808"),
    "end_time truth": ("end_time", b"true"),
    "end_time date": ("end_time", b"2020-01-01"),
    "user_id number": ("user_id", b"7"),
    "run_name map": ("run_name", b"{a: b}"),
    "lifecycle_stage unknown": ("lifecycle_stage", b"gone"),
    "lifecycle_stage number": ("lifecycle_stage", b"1"),
}
EXPERIMENT_FIELDS: dict[str, tuple[str, bytes | None]] = {
    "name number": ("name", b"7"),
    "name missing": ("name", None),
    "artifact_location number": ("artifact_location", b"7"),
    "lifecycle_stage unknown": ("lifecycle_stage", b"gone"),
    "creation_time text": ("creation_time", b"yesterday"),
    "last_update_time float": ("last_update_time", b"1.5"),
}
METRIC_LINES: dict[str, bytes] = {
    "text": b"this is no point\n",
    "one field": b"1\n",
    "four fields": b"1 2.0 3 4\n",
    "value is no number": b"1 high 3\n",
    "timestamp is a fraction": b"1.5 2.0 3\n",
    "step is a fraction": b"1 2.0 3.5\n",
    "two blanks": b"1  2.0 3\n",
    "tabs": b"1\t2.0\t3\n",
    "blank line": b"\n",
    "not UTF-8": b"\xff\xfe 1 2\n",
    "timestamp of 65 bits": b"9223372036854775808 2.0 3\n",
    "step of 65 bits": b"1 2.0 -9223372036854775809\n",
    "step of 5000 digits": b"1 2.0 " + b"9" * 5000 + b"\n",
    "one field without an end": b"1",
}
LOSS = "{e}/{r}/metrics/loss"

CASES: tuple[Case, ...] = (
    *(_bad_run(name, _put(RUN_META, content)) for name, content in META_TEXTS.items()),
    *(_bad_experiment(name, _put(EXPERIMENT_META, META_TEXTS[name])) for name in OF_EXPERIMENTS),
    *(_bad_run(name, _replace_by(RUN_META, make), UNREADABLE) for name, make in META_THINGS.items()),
    *(_bad_experiment(name, _replace_by(EXPERIMENT_META, make), UNREADABLE) for name, make in META_THINGS.items()),
    *(_bad_run(name, _field(RUN_META, *change)) for name, change in RUN_FIELDS.items()),
    *(_bad_experiment(name, _field(EXPERIMENT_META, *change)) for name, change in EXPERIMENT_FIELDS.items()),
    _bad_run("no meta.yaml", _remove(RUN_META), MISSING),
    _bad_experiment("no meta.yaml", _remove(EXPERIMENT_META), MISSING),
    _bad_run("run_id of another", _field(RUN_META, "run_id", ANOTHER.encode()), MISPLACED),
    _bad_run("run_id number", _field(RUN_META, "run_id", b"7"), MISPLACED),
    _bad_run("experiment_id of another", _field(RUN_META, "experiment_id", b"'0'"), MISPLACED),
    _bad_experiment("experiment_id of another", _field(EXPERIMENT_META, "experiment_id", b"'0'"), MISPLACED),
    _bad_experiment("experiment_id list", _field(EXPERIMENT_META, "experiment_id", b"[]"), MALFORMED),
    Case(
        "run: in the wrong experiment",
        _copy("{e}/{r}", "{o}/{r}", move=True),
        ((MISPLACED, "{o}/{r}/meta.yaml"),),
        Shows.NO_RUN,
    ),
    Case(
        "run: also in the wrong experiment",
        _copy("{e}/{r}", "0/{r}"),
        ((MISPLACED, "0/{r}/meta.yaml"),),
        Shows.EVERYTHING,
    ),
    Case(
        "run: copied beside itself",
        _copy("{e}/{r}", f"{{e}}/{ANOTHER}"),
        ((MISPLACED, f"{{e}}/{ANOTHER}/meta.yaml"),),
        Shows.EVERYTHING,
    ),
    _bad_item("run: no user_id", _field(RUN_META, "user_id", None), "{r}/meta.yaml"),
    _bad_item("run: status text", _field(RUN_META, "status", b"FINISHED"), "{r}/meta.yaml"),
    *(_bad_item(f"metric: {name}", _append(LOSS, line), "{r}/metrics/loss") for name, line in METRIC_LINES.items()),
    _bad_item("metric: empty", _put(LOSS, b""), "{r}/metrics/loss"),
    _bad_item("metric: link", _link(LOSS, "deep/er"), "{r}/metrics/loss", UNREADABLE),
    _bad_item("metric: pipe", _replace_by(LOSS, os.mkfifo), "{r}/metrics/loss", UNREADABLE),
    _bad_item("metric: linked folder", _link("{e}/{r}/metrics/deep", "."), "{r}/metrics/deep", UNREADABLE),
    _bad_item("metric: illegal name", _put("{e}/{r}/metrics/m$x", b"1 2.0 3\n"), "{r}/metrics/m$x"),
    _bad_item("metrics: a link", _link("{e}/{r}/metrics", "params"), "{r}/metrics", UNREADABLE),
    _bad_item("metrics: a file", _replace_by("{e}/{r}/metrics", Path.touch), "{r}/metrics", UNREADABLE),
    _bad_item("param: not UTF-8", _put("{e}/{r}/params/lr", b"\xff"), "{r}/params/lr"),
    _bad_item("param: illegal name", _put("{e}/{r}/params/a$b", b"1"), "{r}/params/a$b"),
    _bad_item("param: newline in name", _put("{e}/{r}/params/a\nb", b"1"), "{r}/params/a\nb"),
    _bad_item("param: link", _link("{e}/{r}/params/lr", "net/depth"), "{r}/params/lr", UNREADABLE),
    _bad_item("param: pipe", _replace_by("{e}/{r}/params/lr", os.mkfifo), "{r}/params/lr", UNREADABLE),
    _bad_item("tag: not UTF-8", _put("{e}/{r}/tags/colour", b"\xc3"), "{r}/tags/colour"),
    _bad_item("tag of experiment: not UTF-8", _put("{e}/tags/kind", b"\xc3"), "tags/kind"),
    _bad_item("tag of experiment: illegal name", _put("{e}/tags/a;b", b"1"), "tags/a;b"),
    Case("metric: duplicate points", _append(LOSS, b"1002 0.3333333333333333 2\n"), ((DUPLICATE, LOSS),), Shows.RUN),
    Case("metrics: missing", _remove("{e}/{r}/metrics"), (), Shows.RUN, is_met=False),
    Case("params: missing", _remove("{e}/{r}/params"), (), Shows.RUN, is_met=False),
    Case("tags: missing", _remove("{e}/{r}/tags"), (), Shows.RUN, is_met=False),
    Case(".trash: missing", _remove(".trash"), ((MISSING, ".trash"),), Shows.EVERYTHING, False, True),
    Case(".trash: a file", _replace_by(".trash", Path.touch), ((UNREADABLE, ".trash"),), Shows.EVERYTHING, False, True),
    Case(".trash: a link", _link(".trash", "models"), ((UNREADABLE, ".trash"),), Shows.EVERYTHING, False, True),
    _foreign("file in the root", _put("notes.txt", b"x"), "notes.txt"),
    _foreign("folder in the root", _put("my dir$/run/meta.yaml", b"x"), "my dir$"),
    _foreign("file named as an experiment", _put("17", b"x"), "17"),
    _foreign(
        "files in experiment and run",
        _all(_put("{e}/x.csv", b"x"), _put("{e}/{r}/x.csv", b"x")),
        "{e}/x.csv",
        "{e}/{r}/x.csv",
    ),
    _foreign(
        "folders in experiment and run",
        _all(_make("{e}/.git"), _make("{e}/{r}/x")),
        "{e}/.git",
        "{e}/{r}/x",
    ),
    _foreign("linked experiment", _link("linked", "0"), "linked", kind=UNREADABLE),
    _foreign("link to nothing in the root", _link("linked", "nowhere"), "linked", kind=UNREADABLE),
    _foreign("linked run", _link(f"{{e}}/{ANOTHER}", "neighbour"), f"{{e}}/{ANOTHER}", kind=UNREADABLE),
    Case(
        ".DS_Store: everywhere but in params, tags and metrics",
        _all(
            *(
                _put(path, b"\0\0\0\1Bud1\xff")
                for path in (
                    ".DS_Store",
                    ".trash/.DS_Store",
                    "{e}/.DS_Store",
                    "{e}/{r}/.DS_Store",
                    "{e}/{r}/inputs/.DS_Store",
                    "{e}/datasets/.DS_Store",
                    "{e}/{r}/artifacts/.DS_Store",
                )
            )
        ),
        tuple((FOREIGN, path) for path in (".DS_Store", ".trash/.DS_Store", "{e}/.DS_Store", "{e}/{r}/.DS_Store")),
        Shows.EVERYTHING,
        is_met=False,
    ),
    *(
        _bad_item(
            f".DS_Store: in {kind}",
            _put(f"{{e}}/{{r}}/{kind}/.DS_Store", b"\0\0\0\1Bud1\xff"),
            f"{{r}}/{kind}/.DS_Store",
        )
        for kind in ("params", "tags", "metrics")
    ),
)
