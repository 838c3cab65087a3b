"""What runs several evaluations at once: threads, or a cluster whose library is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from prefect.task_runners import ThreadPoolTaskRunner

from otel_ml_metrics.errors import ConfigurationError

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

Runner = Literal["threads", "dask", "ray"]


def task_runner(kind: Runner, *, at_once: int, address: str | None = None) -> TaskRunner[Any]:
    """Make a task runner; it starts as a context manager.

    Args:
        kind: Threads of this process, or a cluster.
        at_once: How many tasks run at the same time; a cluster that is there already decides for itself.
        address: Of a cluster that is there already; None starts one on this machine for as long as it is needed.

    Raises:
        ConfigurationError: The library of the cluster is not installed, or threads were given an address.
    """
    try:
        if kind == "dask":
            from prefect_dask import DaskTaskRunner  # noqa: PLC0415  # loaded only by those who ask for it

            cluster = {"n_workers": 1, "threads_per_worker": at_once, "dashboard_address": None}
            made = DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=cluster)
        elif kind == "ray":
            from prefect_ray import RayTaskRunner  # noqa: PLC0415  # the same

            made = RayTaskRunner(address=address) if address else RayTaskRunner(init_kwargs={"num_cpus": at_once})
        elif address is not None:
            message = f"threads have no address, but found {address!r}. Leave it out, or set runner to dask or ray."
            raise ConfigurationError(message, "address")
        else:
            made = ThreadPoolTaskRunner(max_workers=at_once)
    except ModuleNotFoundError as missing:
        message = (
            f"{kind} needs {missing.name}, which is not installed where the flow runs. Run there:"
            f" pip install prefect-{kind}. Or set runner to threads."
        )
        raise ConfigurationError(message, "runner") from missing
    return cast("TaskRunner[Any]", made)
