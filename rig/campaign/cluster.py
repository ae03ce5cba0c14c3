"""Run a campaign on a dask.distributed cluster that exists already: its batches, in shards, on its workers.

A shard is a task.  The scheduler gives the shard of a worker that died to another one, and a shard's reports
arrive together once it is done: none is lost, none counts twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from rig.campaign.engine import Report

if TYPE_CHECKING:
    from rig.campaign.campaign import Batches, Spec

Shard = tuple[tuple[int, int], ...]

#: calls of one shard: what an engine does in some seconds, against which starting a machine does not count
CALLS = {"memop": 1 << 21, "rtas": 1 << 14}
#: shards under way for each thread of the cluster: one runs, one waits
AHEAD = 2
#: seconds to find the scheduler
PATIENCE = 10.0


class NoCluster(RuntimeError):
    """There is no scheduler at the address, or dask.distributed is not installed."""


def run(spec: Spec, batches: Batches, address: str, shard: int | None = None) -> Iterator[Report]:
    """Reports as shards of ``shard`` batches come back, in any order.

    Raises :class:`NoCluster`, and :class:`rig.machine.errors.MachineError` when a worker can have no machine.
    """
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise NoCluster("dask.distributed is not installed: pip install 'spapr-rig[dask]'") from error
    try:
        client: Any = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise NoCluster(f"no dask scheduler at {address}: {error}") from error
    source = iter(batches)
    size = shard or max(1, CALLS[spec.engine] // spec.batch_size)
    with client:
        owed: dict[Any, Shard] = {}
        done = as_completed(loop=client.loop)

        def feed() -> None:
            # Asked each time: workers may come and go.
            threads = sum(worker["nthreads"] for worker in client.scheduler_info(-1)["workers"].values())
            while len(owed) < AHEAD * max(1, threads) and (taken := tuple(islice(source, size))):
                future = client.submit(execute, spec, taken, pure=False)
                owed[future] = taken
                done.add(future)

        try:
            feed()
            for future in done:
                yield from _reports(future, owed.pop(future))
                feed()
        finally:
            with suppress(OSError):
                client.cancel(list(owed))


def execute(spec: Spec, shard: Shard) -> tuple[Report, ...]:
    """One shard, on a worker."""
    with closing(spec.start()) as engine:
        return tuple(engine.run(shard))


def _reports(future: Any, shard: Shard) -> tuple[Report, ...]:
    from distributed import KilledWorker

    try:
        reports: tuple[Report, ...] = future.result()
    except KilledWorker as error:
        first, last = shard[0][0], shard[-1][0]
        words = f"workers died of batches {first} to {last}, or with them: {error}"
        return tuple(Report(number, 0, 0.0, 0.0, errors=(words,)) for number, _ in shard[:1])
    return reports


__all__ = ["NoCluster", "run"]
