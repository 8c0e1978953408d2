"""A batch script for SLURM: one job, in which each process is a step of its own."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator

from dynamo_core.deploy.process import Plan, Process
from dynamo_core.deploy.site import Site
from dynamo_core.errors import UserError
from dynamo_core.targets.target import (
    Files,
    Rendering,
    Target,
    dashed,
    hidden_names,
    option_of,
    refuse_foreground,
)

ADDRESS, FOLDER = "@address@", "@folder@"
"""What the script replaces: the address of the node that a step runs on, and the job's folder."""
STOP_MARGIN = 20
"""Seconds before the job's time is up beyond the longest drain budget, for engines to end in."""
CPUS = 4
"""Of a process whose `resources` do not say how many; alone, SLURM would give it one."""

_SCRIPT = """\
#!/bin/bash
{header}{options}
set -u
{secrets}
# Discovery and logs, readable for nobody else.
folder=${{DYNAMO_FOLDER:-$SLURM_SUBMIT_DIR/$SLURM_JOB_NAME-$SLURM_JOB_ID}}
(umask 077 && mkdir -p "$folder/discovery") || exit

# Run by each step: it alone knows the address of its node.
# shellcheck disable=SC2016
on_node='address=$(hostname -I | cut -d " " -f 1)
words=()
for word; do words+=("${{word//{address}/${{address:-127.0.0.1}}}}"); done
exec "${{words[@]}}"'

steps=() stopping=0

start() {{ # NAME GPUS CPUS WORD...
    local name=$1 gpus=--gres=none cpus=$3
    (($2)) && gpus=--gpus-per-node=$2
    shift 3
    srun --exact --nodes=1 --ntasks=1 --cpus-per-task="$cpus" "$gpus" --job-name="$name" \\
        --output="$folder/$name.log" /bin/bash -c "$on_node" "$name" "${{@//{folder}/$folder}}" &
    steps+=($!)
}}

stop() {{
    stopping=1
    kill -TERM "${{steps[@]}}" 2>/dev/null
}}
trap stop TERM INT

{steps}
# The graph ends with the first of its processes.
wait -n "${{steps[@]}}"
code=$?
((stopping)) && code=0
stop
while ! wait; do :; done
exit "$code"
"""


class Slurm(Target):
    name = "slurm"
    summary = "a batch script for SLURM, with a step for each process"

    def site(self) -> Site:
        return Site(
            "slurm",
            is_here=False,
            has_own_devices=True,
            first_port=20090,
            addresses=itertools.repeat(ADDRESS),
            settings={"discovery-path": f"{FOLDER}/discovery"},
        )

    def render(self, rendering: Rendering) -> Files:
        plan = rendering.plan
        if problems := [*refuse_foreground(plan, "a SLURM job"), *_restarts(plan), *_parts_of_cpus(plan)]:
            raise UserError("\n".join(problems))
        script = _SCRIPT.format(
            header=rendering.header(),
            options="\n".join(f"#SBATCH --{option}" for option in _options(rendering)),
            secrets="".join(
                f': "${{{name}:?has to be set in the shell that runs sbatch}}"\n' for name in _secrets(plan)
            ),
            address=ADDRESS,
            folder=FOLDER,
            steps="".join(map(_step, plan.processes)),
        )
        return {f"{rendering.name}.sbatch": script}


def _restarts(plan: Plan) -> Iterator[str]:
    for process in plan.processes:
        if process.restart in ("on-failure", "always"):
            yield (
                f"{process.section}: restart is {process.restart}, but the steps of a SLURM job are not "
                "started again\n  fix: leave restart out; sbatch --requeue starts the whole graph again"
            )


def _parts_of_cpus(plan: Plan) -> Iterator[str]:
    for process in plan.processes:
        if not str(process.resources.get("cpu", CPUS)).isdecimal():
            yield (
                f"{process.section}: resources.cpu is {process.resources['cpu']!r}, but SLURM gives out "
                "whole ones\n  fix: give a whole number"
            )


def _options(rendering: Rendering) -> Iterator[str]:
    processes = rendering.plan.processes
    yield f"job-name={rendering.name}"
    yield f"ntasks={len(processes)}"
    yield f"cpus-per-task={max(map(_cpus, processes))}"
    if any(option_of(process, "discovery-backend") in ("", "file") for process in processes):
        yield "nodes=1"  # notices of a discovery folder do not leave the machine
    if gpus := sum(process.gpu_count for process in processes):
        yield f"gpus={gpus}"
    drain = max(process.drain_timeout for process in processes)
    yield f"signal=B:TERM@{drain + STOP_MARGIN:.0f}"
    yield "output=%x-%j.log"


def _cpus(process: Process) -> int:
    return int(process.resources.get("cpu", CPUS))


def _secrets(plan: Plan) -> list[str]:
    """sbatch hands the environment of its shell on."""
    return sorted({name for process in plan.processes for name in hidden_names(process)})


def _step(process: Process) -> str:
    hidden = hidden_names(process)
    env = [f"{name}={value}" for name, value in process.env.items() if name not in hidden]
    words = shlex.join([*(["env", *env] if env else []), *process.argv])
    return f"start {dashed(process.name)} {process.gpu_count} {_cpus(process)} {words}\n"
