"""The facade over the Rust runtime; nothing outside this package imports `dynamo._core`.

The compiled library is loaded when a runtime is opened, not before: it reads its environment while
it loads, and help and planning do not need it.
"""

from dynamo_core.runtime.component import Client, Component, Endpoint, Handler, Namespace
from dynamo_core.runtime.distributed import DistributedRuntime
from dynamo_core.runtime.worker import dynamo_worker, run

__all__ = [
    "Client",
    "Component",
    "DistributedRuntime",
    "Endpoint",
    "Handler",
    "Namespace",
    "dynamo_worker",
    "run",
]
