"""When a process that has ended is started again, and how long that waits."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from dynamo_core.deploy.restarts import When

Scope = Literal["process", "graph"]
SCOPES: tuple[str, ...] = get_args(Scope)


@dataclass(frozen=True)
class RestartPolicy:
    """What happens to a process that ends by itself after it was ready once.

    One that fails before it was ever ready is never started again: what is wrong then stays wrong.
    """

    when: When = "on-failure"
    scope: Scope = "process"
    """`graph`: all processes are stopped in order and started again together."""
    limit: int = 5
    """Restarts of one process within `window` after which it is given up and the graph ends."""
    window: float = 300.0
    """Seconds."""
    first_delay: float = 1.0
    """Seconds before the first restart; doubled for each further one within the window."""
    longest_delay: float = 30.0
    jitter: float = 0.2
    """Part of a delay by which it may be longer, so that many do not come back at the same time."""

    def wants_restart(self, code: int, when: When | None = None) -> bool:
        """Whether an end with `code` is followed by a new start; `when` of the process beats our own."""
        when = when or self.when
        return when == "always" or (when == "on-failure" and code != 0)

    def delay(
        self, restarts: Sequence[float], now: float, luck: Callable[[], float] = random.random
    ) -> float | None:
        """Seconds to wait before the next start, or None to give up.

        `restarts` are the times of those before, `luck` answers from 0 to 1.
        """
        recent = sum(1 for moment in restarts if now - moment < self.window)
        if recent >= self.limit:
            return None
        return float(min(self.first_delay * 2**recent, self.longest_delay) * (1 + self.jitter * luck()))
