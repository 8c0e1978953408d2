"""What `dynamo serve` and `dynamo run` have in common: flags, and what becomes of a plan."""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from dynamo_core import environment
from dynamo_core.cli.parser import CommandParser
from dynamo_core.deploy.asking import run
from dynamo_core.deploy.describe import describe_quickly
from dynamo_core.deploy.graph import GraphConfig
from dynamo_core.deploy.plan import make_plan
from dynamo_core.deploy.process import Plan
from dynamo_core.deploy.restarts import WHENS
from dynamo_core.errors import UserError
from dynamo_core.printing import emit, visible
from dynamo_core.serve.children import local_spawner
from dynamo_core.serve.control import control_server
from dynamo_core.serve.director import Director
from dynamo_core.serve.log_folder import LogFolder
from dynamo_core.serve.outlet import Outlet
from dynamo_core.serve.output import JsonLines, Sink, Tee, Terminal
from dynamo_core.serve.policy import SCOPES, RestartPolicy
from dynamo_core.serve.preflight import check_ports
from dynamo_core.serve.process_1 import below_process_1
from dynamo_core.serve.registry import LOGS, check_graph_name, free_name, graphs_folder, registered
from dynamo_core.serve.summary import summary
from dynamo_core.serve.supervisor import OURS, Supervisor
from dynamo_core.serve.table import render
from dynamo_core.serve.turn import Turn

MEGABYTE = 1 << 20


def number(least: float, kind: type[float]) -> object:
    """A type for argparse, which turns the ValueError into its message."""

    def parse(text: str) -> float:
        value = kind(text)
        if not least <= value < float("inf"):
            raise ValueError(text)
        return value

    parse.__name__ = "seconds" if kind is float else "number"
    return parse


def add_flags(parser: CommandParser) -> None:
    """The flags of everything that starts a graph."""
    default = RestartPolicy()
    seconds, count = number(0, float), number(1, int)
    group = parser.add_argument_group("instead of starting anything")
    group.add_argument(
        "--dry-run",
        choices=("text", "json"),
        metavar="[=json]",
        help="print the commands, or the whole plan as JSON, and exit",
    )
    group.add_argument("--show-config", action="store_true", help="print every value with its source")
    group = parser.add_argument_group("while it runs")
    group.add_argument(
        "--start-timeout",
        type=seconds,  # type: ignore[arg-type]
        default=600.0,
        metavar="SECONDS",
        help="in which each process must be ready; start-timeout: of a section beats it; default %(default)s",
    )
    group.add_argument(
        "--drain-timeout",
        type=seconds,  # type: ignore[arg-type]
        metavar="SECONDS",
        help="the same as --Common.drain-timeout: how long streams get to end when all is stopped",
    )
    group.add_argument(
        "--restart",
        choices=WHENS,
        default=default.when,
        help="when a process that was ready once is started again; restart: of a section beats it; "
        "default %(default)s",
    )
    group.add_argument(
        "--restart-scope",
        choices=SCOPES,
        default=default.scope,
        help="start only that process again, or the whole graph; default %(default)s",
    )
    group.add_argument(
        "--restart-limit",
        type=number(0, int),  # type: ignore[arg-type]
        default=default.limit,
        metavar="N",
        help="restarts of one process after which the graph is given up; default %(default)s",
    )
    group.add_argument(
        "--restart-window",
        type=seconds,  # type: ignore[arg-type]
        default=default.window,
        metavar="SECONDS",
        help="in which these are counted; default %(default)s",
    )
    group.add_argument("--name", help="of the graph, for dynamo stop and logs; default: the file's")
    group.add_argument(
        "--join", action="store_true", help="run where another graph of this machine runs, and share workers"
    )
    group.add_argument(
        "--detach", action="store_true", help="return once it is ready and leave it in the background"
    )
    group.add_argument("--background", help=argparse.SUPPRESS, action="store_true")
    group = parser.add_argument_group("logs")
    group.add_argument("--log-level", metavar="LEVEL", help="the same as --Common.log-level")
    group.add_argument(
        "--log-format", choices=("text", "json"), help="one JSON object a line; also --Common.log-format"
    )
    group.add_argument("--log-dir", type=Path, metavar="DIR", help="write logs to files there, too")
    group.add_argument(
        "--log-size",
        type=count,  # type: ignore[arg-type]
        default=16,
        metavar="MB",
        help="of a log file before it is rotated; default %(default)s",
    )
    group.add_argument(
        "--log-files",
        type=count,  # type: ignore[arg-type]
        default=5,
        metavar="N",
        help="log files that are kept of each process; default %(default)s",
    )


def explicit_dry_run(words: Sequence[str]) -> list[str]:
    """argparse would take the word after `--dry-run` for its value."""
    return ["--dry-run=text" if word == "--dry-run" else word for word in words]


def overrides_of(options: argparse.Namespace) -> list[str]:
    """The flags that stand for keys of all components."""
    keys = ("drain-timeout", "log-level", "log-format")
    given = {key: getattr(options, key.replace("-", "_")) for key in keys}
    return [f"--Common.{key}={value}" for key, value in given.items() if value is not None]


def start(
    command: str, argv: Sequence[str], graph: GraphConfig, options: argparse.Namespace, name: str
) -> int:
    """Plan a graph and print that, start it in the background, or run it here; returns the exit code.

    `command` and `argv` are the words that this was asked with, `name` what the graph is called if
    nobody says. Raises `UserError`.
    """

    def plan_and_start() -> int:
        with Turn() as turn:
            plan = make_plan(graph, ask=describe_quickly, inventory=turn.inventory)
            return _start(command, argv, plan, options, name, turn)

    return below_process_1(plan_and_start)


def _start(
    command: str, argv: Sequence[str], plan: Plan, options: argparse.Namespace, name: str, turn: Turn
) -> int:
    for warning in plan.warnings:
        print(visible(f"dynamo {command}: warning: {warning}"), file=sys.stderr)
    if options.dry_run:
        _print_plan(command, plan, options.dry_run)
        return 0
    if plan.unchecked:
        raise UserError("\n".join(plan.unchecked))
    name = check_graph_name(options.name) if options.name else free_name(name)
    if options.detach:
        from dynamo_core.cli.detach import detach

        turn.end()  # it is the other process that registers
        return detach(command, argv, name, options.log_dir)
    check_ports(plan)
    return run(_run(plan, options, name, turn))


def _print_plan(command: str, plan: Plan, form: str) -> None:
    for reason in plan.unchecked:
        print(f"dynamo {command}: warning: engine flags not checked: {reason}", file=sys.stderr)
    if form == "json":
        emit(json.dumps(plan.data(), indent=2))
    else:
        emit("\n".join(process.command() for process in plan.processes))


async def _run(plan: Plan, options: argparse.Namespace, name: str, turn: Turn) -> int:
    is_shown = not options.background and not any(process.foreground for process in plan.processes)
    log_dir = options.log_dir or (None if is_shown else graphs_folder() / name / LOGS)
    policy = RestartPolicy(
        when=options.restart,
        scope=options.restart_scope,
        limit=options.restart_limit,
        window=options.restart_window,
    )
    director = Director(plan, policy, start_timeout=options.start_timeout)
    where = str(log_dir.absolute()) if log_dir else ""
    with registered(name, plan, log_dir=where, join=options.join) as record:
        turn.end()
        terminal = _terminal(plan, options) if is_shown else None
        sink = _sink(terminal, Path(where) if where else None, options)
        with local_spawner() as spawner:
            supervisor = Supervisor(director, spawner, sink, show=_shower(terminal))
            async with control_server(record.folder, supervisor):
                code = await supervisor.run()
        last = summary(director, supervisor.clock(), code)
        sink.lines(OURS, last)
        sink.close()
        if not is_shown and not options.background:
            _end_of_foreground(record.folder / LOGS, last, code)
    return code


def _terminal(plan: Plan, options: argparse.Namespace) -> Terminal | JsonLines:
    outlet = Outlet(sys.stdout.fileno(), on_broken=lambda: os.kill(os.getpid(), signal.SIGTERM))
    if options.log_format == "json":
        return JsonLines(outlet)
    names = [*(process.name for process in plan.processes), OURS]
    return Terminal(outlet, names, colour=environment.wants_colour(is_terminal=sys.stdout.isatty()))


def _sink(terminal: Sink | None, log_dir: Path | None, options: argparse.Namespace) -> Sink:
    sinks: list[Sink] = [terminal] if terminal else []
    if log_dir:
        size = options.log_size * MEGABYTE
        files = LogFolder(
            log_dir, size=size, count=options.log_files, complain=lambda t: tee.lines(OURS, [t])
        )
        sinks.append(files)
    tee = Tee(sinks)
    return tee


def _shower(terminal: Terminal | JsonLines | None) -> Callable[[Supervisor], None]:
    """Where nothing can be drawn in place, what the supervisor says is enough."""
    if isinstance(terminal, Terminal) and sys.stdout.isatty():
        return functools.partial(_show_table, terminal)
    return lambda supervisor: None


def _show_table(terminal: Terminal, supervisor: Supervisor) -> None:
    """Keep the table of processes below the log until all are ready, then leave it there."""
    director = supervisor.director
    if terminal.is_done:
        return
    if director.stopping:
        terminal.footer("")
        return
    colour = environment.wants_colour(is_terminal=True)
    text = render(supervisor.members, supervisor.clock(), colour=colour, progress=supervisor.partial)
    if director.ready_at is None:
        terminal.footer(text)
    else:
        terminal.keep(text)


def _end_of_foreground(logs: Path, last: Sequence[str], code: int) -> None:
    """The terminal belonged to one process; tell what became of the others if it matters."""
    if code == 0:
        shutil.rmtree(logs, ignore_errors=True)
        return
    for line in last:
        print(visible(line, keep=""), file=sys.stderr)
    if logs.is_dir():
        print(f"logs are in {logs}", file=sys.stderr)
