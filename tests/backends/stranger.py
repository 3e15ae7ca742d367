"""Another program that changes a folder of MLflow's layout while stores have it open, at random."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

__all__ = ["Stranger"]

_KINDS = ("tags", "params", "metrics")
_KEYS = ("k", "k2", "d/e", "d/f/g", "x/y", "loss")


class Stranger:
    """Changes files and folders with no regard for who else uses them, and leaves them readable.

    Args:
        root: The folder of the store.
        seed: Of all that it does.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self._root = root
        self._random = Random(seed)
        self._acts: list[Callable[[Path], None]] = [
            *[self._write] * 4,
            self._make_folders,
            self._remove_file,
            self._rename_file,
            self._rename_folder,
            self._put_another_folder_in_place,
            self._edit_meta,
            self._remove_run,
            self._copy_run,
            self._move_experiment,
            self._edit_datasets,
            self._hide_inputs,
        ]

    def act(self) -> str:
        """Do something to some run or its experiment; what, for whoever has to find out."""
        act, run = self._random.choice(self._acts), self._random.choice(self.runs())
        act(run)
        return f"{act.__name__} {run.relative_to(self._root)}"

    def runs(self) -> list[Path]:
        """The folders of all runs, in order."""
        metas = [path for pattern in ("*/*/meta.yaml", ".trash/*/*/meta.yaml") for path in self._root.glob(pattern)]
        found = {path.parent for path in metas if path.parent.parent.name not in (".trash", "models")}
        return sorted(found, key=lambda path: path.name)

    def _place(self, run: Path) -> tuple[str, Path]:
        kind = self._random.choice(_KINDS)
        return kind, run / kind / self._random.choice(_KEYS)

    def _write(self, run: Path) -> None:
        kind, path = self._place(run)
        if path.is_dir() or any(parent.is_file() for parent in path.parents):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        number = self._random.randrange(10)
        with path.open("a" if kind == "metrics" else "w", encoding="utf-8") as file:
            file.write(f"{number} {self._random.random()} {number}\n" if kind == "metrics" else str(number))

    def _make_folders(self, run: Path) -> None:
        (run / self._random.choice(_KINDS) / "made" / str(self._random.randrange(3))).mkdir(parents=True, exist_ok=True)

    def _remove_file(self, run: Path) -> None:
        _, path = self._place(run)
        if path.is_file():
            path.unlink()

    def _rename_file(self, run: Path) -> None:
        _, path = self._place(run)
        if path.is_file():
            path.rename(path.with_name(f"moved {self._random.randrange(3)}"))

    def _rename_folder(self, run: Path) -> None:
        parent = run / self._random.choice(_KINDS)
        target = parent / f"D{self._random.randrange(3)}"
        if (parent / "d").is_dir() and not target.exists():
            (parent / "d").rename(target)

    def _put_another_folder_in_place(self, run: Path) -> None:
        folder, spare = run / "metrics", run / "spare"
        shutil.copytree(folder, spare)
        shutil.rmtree(folder)
        spare.rename(folder)

    def _edit_meta(self, run: Path) -> None:
        meta = run / "meta.yaml"
        lines = [line for line in meta.read_text("utf-8").splitlines() if not line.startswith("status:")]
        text = "\n".join([*lines, f"status: {self._random.choice((1, 3, 4, 5))}", ""])
        if self._random.random() < 0.5:
            meta.write_text(text, "utf-8")
        else:
            (run / "spare").write_text(text, "utf-8")
            (run / "spare").rename(meta)

    def _remove_run(self, run: Path) -> None:
        if self._random.random() < 0.3:
            shutil.rmtree(run)

    def _copy_run(self, run: Path) -> None:
        run_id = f"{self._random.getrandbits(128):032x}"
        copy = Path(shutil.copytree(run, run.with_name(run_id), ignore=shutil.ignore_patterns(".holdall")))
        meta = copy / "meta.yaml"
        meta.write_text(meta.read_text("utf-8").replace(run.name, run_id), "utf-8")

    def _move_experiment(self, run: Path) -> None:
        """As deletion and restoration do, though what the runs say of themselves stays."""
        experiment = run.parent
        deleted = experiment.parent.name == ".trash"
        experiment.rename((self._root if deleted else self._root / ".trash") / experiment.name)

    def _edit_datasets(self, run: Path) -> None:
        for meta in sorted(run.parent.glob("datasets/*/meta.yaml")):
            lines = [line for line in meta.read_text("utf-8").splitlines() if not line.startswith("source_type:")]
            text = "\n".join([*lines, f"source_type: of {self._random.randrange(10)}", ""])
            meta.write_text(text, "utf-8")

    def _hide_inputs(self, run: Path) -> None:
        if (run / "inputs").is_dir():
            (run / "inputs").rename(run / f"not inputs {self._random.randrange(10**9)}")
