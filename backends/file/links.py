"""What a run is linked with: the datasets and models that it used, and the models that it made."""

from __future__ import annotations

from collections.abc import Mapping

from holdall.backends.file.codec import (
    dataset_fields,
    dataset_from,
    dataset_id,
    input_from,
    model_input_from,
    output_from,
)
from holdall.backends.file.files import Folder, Stamp, stamp_of
from holdall.backends.file.journal import Changes
from holdall.backends.file.keyed import Reporter, Stamps
from holdall.backends.file.layout import DATASETS, INPUTS, META, OUTPUTS, OWN, is_run_name
from holdall.backends.file.meta import Fields, MalformedMeta, dump_meta, parse_meta
from holdall.stores.entities import (
    Dataset,
    DatasetInput,
    LoggedModelInput,
    LoggedModelOutput,
    RunInputs,
    RunOutputs,
)
from holdall.stores.errors import DataLoss
from holdall.stores.problems import ProblemKind

__all__ = ["missing_links", "put_dataset", "read_links"]

_NOTHING = RunInputs(), RunOutputs()
_NO_STAMP: Stamp = (-1, 0, 0, 0)


def read_links(
    experiment: Folder, folder: Folder, pending: Changes | None, stamps: Stamps, report: Reporter
) -> tuple[RunInputs, RunOutputs]:
    """The links of a run; what is wrong is reported and does not count.

    Args:
        experiment: The folder of its experiment.
        folder: Its own.
        pending: What is done but not yet in the files.
        stamps: Gets a stamp for every file.
        report: Told of what is not read.
    """
    changes = Changes() if pending is None else pending
    inputs = _links(folder, INPUTS, changes.inputs, stamps, report)
    outputs = _links(folder, OUTPUTS, changes.outputs, stamps, report)
    if not inputs and not outputs:
        return _NOTHING
    return _inputs(experiment, inputs, stamps, report), _outputs(outputs, report)


def _inputs(experiment: Folder, links: Mapping[str, Fields], stamps: Stamps, report: Reporter) -> RunInputs:
    datasets: list[DatasetInput] = []
    models: dict[LoggedModelInput, None] = {}
    for name in sorted(links):
        try:
            link = input_from(links[name])
            model = model_input_from(links[name])
            if link is not None:
                datasets.append(DatasetInput(_dataset(experiment, link[0], stamps), link[1]))
            elif model is not None:
                models[model] = None
        except MalformedMeta as error:
            report(ProblemKind.MALFORMED, f"{INPUTS}/{name}/{META}", f"{error}; the input does not count")
    return RunInputs(tuple(datasets), tuple(models))


def _outputs(links: Mapping[str, Fields], report: Reporter) -> RunOutputs:
    found: dict[str, LoggedModelOutput] = {}
    for name in sorted(links):
        try:
            model = output_from(links[name])
            if model is not None:
                found.setdefault(model.model_id, model)
        except MalformedMeta as error:
            report(ProblemKind.MALFORMED, f"{OUTPUTS}/{name}/{META}", f"{error}; the output does not count")
    return RunOutputs(tuple(found.values()))


def _links(
    folder: Folder, kind: str, pending: dict[str, Fields], stamps: Stamps, report: Reporter
) -> dict[str, Fields]:
    """The fields of all links of a kind, by name; of what is in a file and pending, the file counts."""
    found = dict(pending)
    try:
        links = folder.open(kind)
    except PermissionError:
        report(ProblemKind.UNREADABLE, kind, "may not be entered; what is in it does not count")
        return found
    except (FileNotFoundError, NotADirectoryError):
        return found
    with links:
        for name in links.folders():
            path = f"{kind}/{name}/{META}"
            try:
                found[name] = parse_meta(_read(links, f"{name}/{META}", path, stamps))
            except MalformedMeta as error:
                if name not in pending:
                    report(ProblemKind.MALFORMED, path, f"{error}; the {kind[:-1]} does not count")
    return found


def _read(folder: Folder, name: str, path: str, stamps: Stamps) -> bytes:
    """A file that should be there; its stamp goes under `path`, and says so if it is not."""
    try:
        found = folder.read_with_status(name)
    except OSError:
        stamps.append((path, _NO_STAMP))
        raise MalformedMeta("cannot be read") from None
    stamps.append((path, _NO_STAMP if found is None else stamp_of(found[1])))
    if found is None:
        raise MalformedMeta("is missing")
    return found[0]


def missing_links(folder: Folder, kind: str, links: Mapping[str, Fields]) -> dict[str, Fields]:
    """Those of some links, by name, that a run does not have yet."""
    return {name: fields for name, fields in links.items() if folder.stat(f"{kind}/{name}/{META}") is None}


def put_dataset(experiment: Folder, dataset: Dataset, run_id: str) -> str:
    """Write a dataset that a run uses, unless it is there; its id."""
    for again in (False, True):
        found = dataset_id(dataset, again=again)
        path = f"{DATASETS}/{found}/{META}"
        known = experiment.read(path)
        if known is None:
            experiment.make(f"{DATASETS}/{found}")
            experiment.make(OWN)
            experiment.put_if_missing(path, dump_meta(dataset_fields(dataset)), f"{OWN}/spare-{run_id[:64]}")
            known = experiment.read(path)
        if known is not None:
            held = _parse_dataset(known, path)
            if (held.name, held.digest) == (dataset.name, dataset.digest):
                return found
    raise DataLoss(f"Dataset {dataset.name!r} cannot be written: its id is taken by others in {DATASETS}.")


def _dataset(experiment: Folder, source_id: str, stamps: Stamps) -> Dataset:
    if not is_run_name(source_id):
        raise MalformedMeta("names no dataset")
    path = f"{DATASETS}/{source_id}/{META}"
    try:
        return dataset_from(parse_meta(_read(experiment, path, f"../{path}", stamps)))
    except MalformedMeta as error:
        raise MalformedMeta(f"refers to {path}, which {error}") from None


def _parse_dataset(data: bytes, path: str) -> Dataset:
    try:
        return dataset_from(parse_meta(data))
    except MalformedMeta as error:
        raise DataLoss(f"A dataset cannot be used: {path} {error}; restore or remove it.") from None
