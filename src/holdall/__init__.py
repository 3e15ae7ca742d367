"""holdall: experiment tracking in any store you name by URI.

These are the calls of training code, named and shaped like MLflow's, so that `import holdall as mlflow` runs existing
scripts:

    import holdall

    holdall.set_experiment("digits-svm-baseline")
    with holdall.start_run(run_name="svc-rbf"):
        holdall.log_params({"kernel": "rbf", "gamma": 0.001})
        holdall.log_metric("loss", 0.4, step=1)

`holdall.Client` has the same calls with explicit ids; the stores themselves are in `holdall.stores`. Importing this
package loads nothing: each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdall.client import Client
    from holdall.client import Client as MlflowClient
    from holdall.fluent_artifacts import (
        get_artifact_uri,
        log_artifact,
        log_artifacts,
        log_dict,
        log_figure,
        log_image,
        log_table,
        log_text,
    )
    from holdall.fluent_experiments import (
        create_experiment,
        delete_experiment,
        delete_experiment_tag,
        get_experiment,
        get_experiment_by_name,
        restore_experiment,
        search_experiments,
        set_experiment,
        set_experiment_tag,
        set_experiment_tags,
    )
    from holdall.fluent_logging import (
        delete_tag,
        log_metric,
        log_metrics,
        log_param,
        log_params,
        set_tag,
        set_tags,
    )
    from holdall.fluent_runs import (
        active_run,
        delete_run,
        end_run,
        get_parent_run,
        get_run,
        last_active_run,
        restore_run,
        start_run,
    )
    from holdall.fluent_search import search_runs
    from holdall.fluent_tracking import get_tracking_uri, is_tracking_uri_set, set_tracking_uri
    from holdall.run_stack import ActiveRun
    from holdall.stores.errors import HoldallError

__all__ = [
    "ActiveRun",
    "Client",
    "HoldallError",
    "MlflowClient",
    "__version__",
    "active_run",
    "create_experiment",
    "delete_experiment",
    "delete_experiment_tag",
    "delete_run",
    "delete_tag",
    "end_run",
    "get_artifact_uri",
    "get_experiment",
    "get_experiment_by_name",
    "get_parent_run",
    "get_run",
    "get_tracking_uri",
    "is_tracking_uri_set",
    "last_active_run",
    "log_artifact",
    "log_artifacts",
    "log_dict",
    "log_figure",
    "log_image",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "log_table",
    "log_text",
    "restore_experiment",
    "restore_run",
    "search_experiments",
    "search_runs",
    "set_experiment",
    "set_experiment_tag",
    "set_experiment_tags",
    "set_tag",
    "set_tags",
    "set_tracking_uri",
    "start_run",
]

__version__ = "0.1.0.dev0"

_NAMES_BY_MODULE = {
    "holdall.client": "Client",
    "holdall.fluent_artifacts": (
        "get_artifact_uri log_artifact log_artifacts log_dict log_figure log_image log_table log_text"
    ),
    "holdall.fluent_experiments": (
        "create_experiment delete_experiment delete_experiment_tag get_experiment get_experiment_by_name "
        "restore_experiment search_experiments set_experiment set_experiment_tag set_experiment_tags"
    ),
    "holdall.fluent_logging": "delete_tag log_metric log_metrics log_param log_params set_tag set_tags",
    "holdall.fluent_runs": (
        "active_run delete_run end_run get_parent_run get_run last_active_run restore_run start_run"
    ),
    "holdall.fluent_search": "search_runs",
    "holdall.fluent_tracking": "get_tracking_uri is_tracking_uri_set set_tracking_uri",
    "holdall.run_stack": "ActiveRun",
    "holdall.stores.errors": "HoldallError",
}
_HOMES = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562)."""
    wanted = "Client" if name == "MlflowClient" else name
    if wanted not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[wanted]), wanted)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
