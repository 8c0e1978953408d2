"""What can be known to fail before the first process is started."""

from __future__ import annotations

from dynamo_core.deploy.process import Plan
from dynamo_core.errors import UserError
from dynamo_core.ports import check_port


def check_ports(plan: Plan) -> None:
    """Raise `UserError` with all ports of a plan that are taken, and by whom.

    A stranger's answer on the port that tells readiness would pass for ours.
    """
    problems = []
    for process in plan.processes:
        for key, first in process.ports.items():
            for port in range(first, first + process.port_counts.get(key, 1)):
                try:
                    check_port(process.hosts[key], port, f"{process.section}.{key}")
                except UserError as error:
                    problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
