"""Which process of a graph gets which GPUs. Pure: what there is and what is wanted come as values."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dynamo_core.deploy.gpus import VISIBLE, Gpu, Inventory, choose
from dynamo_core.errors import UserError


@dataclass(frozen=True)
class Wish:
    """The GPUs that one section asks for."""

    section: str
    replicas: int
    count: int
    """Of each replica."""
    where: str
    """Where the count was found; one that begins with `class ` is a component's own word."""
    gpus: str | None = None
    """The devices that the user named for all replicas together, comma-separated."""
    gpus_where: str = ""

    @property
    def total(self) -> int:
        return self.replicas * self.count

    @property
    def is_the_users(self) -> bool:
        """Whether the user gave the count. A class's does not hold where no GPU is: engines run on CPUs."""
        return not self.where.startswith("class ")

    def __str__(self) -> str:
        return f"{self.section} asks for {self.replicas} × {self.count} (from {self.where})"


Places = dict[str, list[tuple[Gpu, ...]]]


def gpus_of(
    section: str, declared: int, where: str, derived: int | None, derived_where: str, problems: list[str]
) -> tuple[int, str]:
    """How many GPUs each replica takes, and where that was found.

    `declared` is what the deployment class or, if `where` is a place of the user's, the section's
    `resources` say; `derived` what the engine's options come to, None if they do not tell. Options
    correct a class; where they contradict the user, `problems` gets one.
    """
    if derived is None or derived == declared:
        return declared, where
    if where.startswith("class "):
        return derived, ", ".join(filter(None, (where, derived_where)))
    reason = f", with {derived_where}" if derived_where else ""
    problems.append(
        f"{section}: resources has gpu: {declared} (from {where}), but the engine takes {derived}{reason}\n"
        f"  fix: set gpu: {derived}, or leave it out"
    )
    return declared, where


def place(
    wishes: Sequence[Wish], inventory: Inventory, problems: list[str]
) -> dict[str, list[tuple[str, ...]]]:
    """Names of devices for each replica of each section.

    No device is given twice, except that several sections may name the same one; one that is named or
    in use is not given to anybody else. A replica of several gets GPUs that are not split, side by side
    if there are such. `problems` gets what cannot be had; those sections then have no devices.
    """
    places: Places = {wish.section: [()] * wish.replicas for wish in wishes}
    for wish in wishes:
        if wish.gpus is not None and wish.replicas:
            places[wish.section] = _named(wish, wish.gpus, inventory, problems)
    named = {gpu: wish for wish in reversed(wishes) for devices in places[wish.section] for gpu in devices}
    asking = [
        wish
        for wish in wishes
        if wish.gpus is None and wish.total and (wish.is_the_users or not inventory.is_without)
    ]
    free = [gpu for gpu in inventory.gpus if gpu not in named and not gpu.user]
    given = _given(asking, inventory, free)
    if given is not None:
        places |= given
    else:
        problems.append(_shortage(asking, inventory, free, named))
    return {
        section: [tuple(gpu.name for gpu in devices) for devices in replicas]
        for section, replicas in places.items()
    }


def _named(wish: Wish, names: str, inventory: Inventory, problems: list[str]) -> list[tuple[Gpu, ...]]:
    """The devices that the user named, split among the replicas in their order."""
    origin = f"{wish.section}: {wish.gpus_where}"
    try:
        gpus = choose(inventory, names)
    except UserError as error:
        problems.append(f"{origin}: {error}")
        return [()] * wish.replicas
    is_open = not wish.count and not wish.is_the_users  # nobody said how many, so that the list does
    count = len(gpus) // wish.replicas if is_open else wish.count
    if count * wish.replicas != len(gpus):
        problems.append(f"{origin}: {_miscounted(wish, len(gpus), is_open)}")
    elif count > 1 and any(gpu.parent for gpu in gpus):
        problems.append(
            f"{origin}: gpus is {names!r}, which are MIG instances, but each replica takes {count} GPUs "
            f"(from {wish.where}), and of instances a process can use no more than one\n"
            "  fix: name GPUs that are not split"
        )
    else:
        return [gpus[i * count : (i + 1) * count] for i in range(wish.replicas)]
    return [()] * wish.replicas


def _miscounted(wish: Wish, found: int, is_open: bool) -> str:
    replicas, each = _counted(wish.replicas, "replica"), _counted(wish.count, "GPU")
    if is_open:
        problem, way_out = f"which cannot be split among {replicas}", "name as many for each of them"
    else:
        problem = f"but {replicas} with {each} each (from {wish.where}) take {wish.total}"
        way_out = f"name {wish.total}, or change what each takes" if wish.total else "leave gpus out"
    return f"gpus names {_counted(found, 'device')}, {problem}\n  fix: {way_out}"


def _counted(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def _given(wishes: Sequence[Wish], inventory: Inventory, free: Sequence[Gpu]) -> Places | None:
    """Devices for those that named none; None if there are not enough.

    Replicas that take many come first, so that those that take one leave no gaps between.
    """
    places: Places = {wish.section: [] for wish in wishes}
    left = [position for position, gpu in enumerate(inventory.gpus) if gpu in free]
    for wish in sorted(wishes, key=lambda wish: -wish.count):
        for _ in range(wish.replicas):
            fit = [p for p in left if wish.count == 1 or not inventory.gpus[p].parent]
            if len(fit) < wish.count:
                return None
            taken = _side_by_side(fit, wish.count)
            places[wish.section].append(tuple(inventory.gpus[position] for position in taken))
            left = [position for position in left if position not in taken]
    return places


def _side_by_side(positions: list[int], count: int) -> list[int]:
    """So many positions in a row, out of the shortest row that is long enough; the first ones if none is."""
    numbered = enumerate(positions)
    rows = [
        [position for _, position in row]
        for _, row in itertools.groupby(numbered, lambda pair: pair[1] - pair[0])
    ]
    fitting = [row for row in rows if len(row) >= count] if count > 1 else []
    return min(fitting or [positions], key=len)[:count]


def _shortage(
    asking: Iterable[Wish], inventory: Inventory, free: Sequence[Gpu], named: Mapping[Gpu, Wish]
) -> str:
    """One problem for the whole graph: who asks, what is free, and who has the rest."""
    asking = list(asking)
    whole = [gpu for gpu in free if not gpu.parent]
    wanted_whole = sum(wish.total for wish in asking if wish.count > 1)
    if len(whole) < wanted_whole and len(whole) < len(free):
        lines = [f"{wanted_whole} GPUs that are not split are asked for, but {_are(len(whole))} free"]
    else:
        lines = [f"{sum(wish.total for wish in asking)} GPUs are asked for, but {_are(len(free))} free"]
    lines += [str(wish) for wish in asking]
    lines.append(inventory.summary)
    if inventory.gpus:
        lines.append(f"free: {', '.join(gpu.name for gpu in free) or 'none'}")
    for gpu in inventory.gpus:
        if gpu in named:
            lines.append(f"{gpu} is named by {named[gpu].section} (from {named[gpu].gpus_where})")
        elif gpu.user:
            lines.append(f"{gpu} is used by {gpu.user}")
    lines.append(f"fix: {_way_out(inventory)}")
    return "\n  ".join(lines)


def _are(count: int) -> str:
    return "1 is" if count == 1 else f"{count} are" if count else "none is"


def _way_out(inventory: Inventory) -> str:
    if not inventory.gpus:
        change = f"change {VISIBLE}" if inventory.shown is not None else "run this where GPUs are"
        return f"{change}; for an engine that runs on the CPU, set resources: {{gpu: 0}}"
    return "ask for fewer, stop what uses the others, or name with gpus: what sections are to share"
