"""Which process gets which GPUs."""

from __future__ import annotations

import dataclasses
import itertools
import random
from pathlib import Path

import pytest
from machines import inventory

from dynamo_core.args.origins import Located, Origin
from dynamo_core.args.parser import Values
from dynamo_core.deploy.describe import Description, describe_here
from dynamo_core.deploy.gpus import Gpu, GpuProcess, Inventory, visible
from dynamo_core.deploy.placement import Wish, gpus_of, place
from dynamo_core.serve.registry import GraphRecord
from dynamo_core.serve.turn import with_holders

CLASS = "class Deployment"
FILE = "agg.yaml:7"
EIGHT = inventory("eight_idle")
BUSY = inventory("eight_two_busy")
MIXED = inventory("mig_mixed")
HELD = [("agg", 4711, ("0", "1")), ("disagg", 4712, ("3", "6"))]
WHOLE = EIGHT.gpus[0].uuid
FIRST, SECOND = (gpu.name for gpu in MIXED.gpus[1:3])
ENGINE = """\
import argparse

from dynamo_core.args import DynamoFlexibleArgumentParser, Engine, GpuSettings
from dynamo_core.args.engine import multiplied
from dynamo_core.deploy import BaseDeployment


class Deployment(BaseDeployment):
    name = "own"
    resources = {"gpu": 1}


def build_parser():
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--tp", "--pp", "--depth"):
        own.add_argument(flag, type=int)
    return own


def gpus(options):
    return multiplied(options, "tp", "pp")


def parser():
    engine = Engine("Own", build_parser, gpus=gpus)
    return DynamoFlexibleArgumentParser(GpuSettings, Deployment, engine=engine)
"""


def given(*wishes: Wish, there: Inventory = EIGHT) -> dict[str, list[tuple[str, ...]]]:
    problems: list[str] = []
    found = place(wishes, there, problems)
    assert problems == []
    return found


def refused(*wishes: Wish, there: Inventory = EIGHT) -> str:
    problems: list[str] = []
    found = place(wishes, there, problems)
    assert {section: len(replicas) for section, replicas in found.items()} == {
        wish.section: wish.replicas for wish in wishes
    }
    (problem,) = problems
    return problem


def test_a_graph() -> None:
    found = given(
        Wish("Frontend", 1, 0, CLASS), Wish("Prefill", 2, 1, CLASS), Wish("Decode", 2, 2, "agg.yaml:12")
    )
    assert found == {"Frontend": [()], "Prefill": [("4",), ("5",)], "Decode": [("0", "1"), ("2", "3")]}


def test_no_replicas() -> None:
    assert given(Wish("Worker", 0, 4, FILE), Wish("Other", 0, 1, FILE, "0", FILE)) == {
        "Worker": [],
        "Other": [],
    }


def test_what_others_use_is_passed_over() -> None:
    assert given(Wish("Worker", 3, 1, CLASS), there=BUSY) == {"Worker": [("0",), ("2",), ("3",)]}


def test_what_running_graphs_hold_is_passed_over() -> None:
    graphs = [GraphRecord(name, pid, "", 0.0, (), gpus=gpus) for name, pid, gpus in HELD]
    there = with_holders(EIGHT, graphs)
    assert given(Wish("Worker", 3, 1, CLASS), there=there) == {"Worker": [("2",), ("4",), ("5",)]}
    problem = refused(Wish("Worker", 5, 1, CLASS), there=there)
    assert "\n  0 (NVIDIA H100 80GB HBM3) is used by the graph agg (process 4711)\n" in problem
    assert "\n  free: 2, 4, 5, 7\n" in problem
    assert given(Wish("Worker", 1, 1, FILE, "0", FILE), there=there) == {"Worker": [("0",)]}


def test_devices_of_a_replica_are_side_by_side() -> None:
    assert given(Wish("Small", 1, 1, FILE), Wish("Large", 1, 4, FILE), there=BUSY) == {
        "Small": [("0",)],
        "Large": [("2", "3", "4", "5")],
    }


def test_a_short_row_is_used_before_a_long_one_is_broken() -> None:
    there = visible(BUSY, "0,1,2,3,4,5,6,7")
    there = dataclasses.replace(
        there, gpus=tuple(dataclasses.replace(gpu, used=0, processes=()) for gpu in there.gpus)
    )
    taken = given(
        Wish("Named", 1, 1, FILE, "4", FILE), Wish("A", 1, 3, FILE), Wish("B", 2, 2, FILE), there=there
    )
    assert taken == {"Named": [("4",)], "A": [("5", "6", "7")], "B": [("0", "1"), ("2", "3")]}


def test_apart_if_there_is_no_other_way() -> None:
    there = visible(BUSY, "0,1,2,6,7")
    assert given(Wish("Worker", 1, 3, FILE), there=there) == {"Worker": [("0", "2", "7")]}


def test_the_order_of_cuda_visible_devices() -> None:
    assert given(Wish("Worker", 2, 1, CLASS), there=visible(EIGHT, "5,3")) == {"Worker": [("5",), ("3",)]}


# Devices that the user names


def test_named_devices_are_split_among_the_replicas() -> None:
    assert given(Wish("Worker", 2, 2, FILE, "6,1,2,3", FILE)) == {"Worker": [("6", "1"), ("2", "3")]}


def test_named_devices_are_nobody_elses() -> None:
    found = given(Wish("Any", 2, 1, CLASS), Wish("Named", 1, 2, FILE, "0,2", FILE))
    assert found == {"Any": [("1",), ("3",)], "Named": [("0", "2")]}


def test_several_may_name_the_same_one_in_any_form() -> None:
    found = given(Wish("A", 1, 1, CLASS, "0", FILE), Wish("B", 1, 1, CLASS, WHOLE, FILE))
    assert found == {"A": [("0",)], "B": [("0",)]}


def test_a_device_in_use_may_be_named() -> None:
    assert given(Wish("Worker", 1, 1, CLASS, "1", FILE), there=BUSY) == {"Worker": [("1",)]}


def test_where_nobody_said_how_many_the_list_does() -> None:
    assert given(Wish("Worker", 2, 0, CLASS, "0,1,2,3", FILE)) == {"Worker": [("0", "1"), ("2", "3")]}


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        (
            Wish("Worker", 2, 1, CLASS, "0,1,2", "agg.yaml:9"),
            "Worker: agg.yaml:9: gpus names 3 devices, "
            "but 2 replicas with 1 GPU each (from class Deployment) take 2\n"
            "  fix: name 2, or change what each takes",
        ),
        (
            Wish("Worker", 1, 2, FILE, "0", "--Worker.gpus"),
            "Worker: --Worker.gpus: gpus names 1 device, "
            "but 1 replica with 2 GPUs each (from agg.yaml:7) take 2\n"
            "  fix: name 2, or change what each takes",
        ),
        (
            Wish("Worker", 2, 0, CLASS, "0,1,2", "agg.yaml:9"),
            "Worker: agg.yaml:9: gpus names 3 devices, which cannot be split among 2 replicas\n"
            "  fix: name as many for each of them",
        ),
        (
            Wish("Worker", 1, 0, FILE, "0", "agg.yaml:9"),
            "Worker: agg.yaml:9: gpus names 1 device, "
            "but 1 replica with 0 GPUs each (from agg.yaml:7) take 0\n"
            "  fix: leave gpus out",
        ),
        (
            Wish("Worker", 1, 1, CLASS, "9", "agg.yaml:9"),
            "Worker: agg.yaml:9: gpus is '9', but there is no 9; this machine has 0, 1, 2, 3, 4, 5, 6, 7\n"
            "  fix: name some of these, each once, or leave gpus out",
        ),
    ],
)
def test_names_that_do_not_fit(wish: Wish, problem: str) -> None:
    assert refused(wish) == problem


def test_names_outside_of_what_is_visible() -> None:
    problem = refused(Wish("Worker", 1, 1, CLASS, "7", FILE), there=visible(EIGHT, "0,1"))
    assert problem.startswith(
        "Worker: agg.yaml:7: gpus is '7', but there is no 7; CUDA_VISIBLE_DEVICES=0,1 shows 0, 1\n"
    )


def test_names_on_a_machine_without() -> None:
    problem = refused(Wish("Worker", 1, 1, CLASS, "0", FILE), there=inventory("no_library"))
    assert "this machine has no GPU that can be used: no NVIDIA driver is installed" in problem


# Instances


def test_an_instance_each() -> None:
    there = inventory("mig_seven")
    found = given(Wish("Worker", 7, 1, CLASS), there=there)
    assert found == {"Worker": [(gpu.name,) for gpu in there.gpus]}


def test_whole_gpus_are_left_for_those_that_need_them() -> None:
    found = given(Wish("Small", 1, 1, CLASS), Wish("Large", 1, 2, FILE), there=MIXED)
    assert found == {"Small": [(FIRST,)], "Large": [("0", "2")]}


def test_instances_are_never_joined() -> None:
    assert refused(Wish("Worker", 1, 3, FILE), there=MIXED).splitlines() == [
        "3 GPUs that are not split are asked for, but 2 are free",
        "  Worker asks for 1 × 3 (from agg.yaml:7)",
        f"  this machine has 0, {FIRST}, {SECOND}, 2 (GPU 3 is split (MIG), but has no instance)",
        f"  free: 0, {FIRST}, 2",
        f"  {SECOND} (NVIDIA A100-SXM4-40GB MIG 3g.20gb) is used by "
        "a hidden process (process 4300, 17.5 GiB)",
        "  fix: ask for fewer, stop what uses the others, or name with gpus: what sections are to share",
    ]
    named = Wish("Worker", 1, 2, FILE, f"{FIRST},{SECOND}", "agg.yaml:9")
    assert "of instances a process can use no more than one" in refused(named, there=MIXED)


# More than there is


def test_more_than_there_is_is_one_problem() -> None:
    """P02 (ai-dynamo #1492, #1405)."""
    wishes = [
        Wish("Frontend", 1, 0, CLASS),
        Wish("Prefill", 4, 1, "agg.yaml:12"),
        Wish("Decode", 1, 4, CLASS),
        Wish("Judge", 1, 1, CLASS, "7", "agg.yaml:20"),
    ]
    gpus = list(BUSY.gpus)
    gpus[1] = dataclasses.replace(gpus[1], processes=(GpuProcess(4242, "python", "ana", 62300 * 2**20),))
    assert refused(*wishes, there=dataclasses.replace(BUSY, gpus=tuple(gpus))).splitlines() == [
        "8 GPUs are asked for, but 5 are free",
        "  Prefill asks for 4 × 1 (from agg.yaml:12)",
        "  Decode asks for 1 × 4 (from class Deployment)",
        "  this machine has 0, 1, 2, 3, 4, 5, 6, 7",
        "  free: 0, 2, 3, 4, 5",
        "  1 (NVIDIA H100 80GB HBM3) is used by python (process 4242, user ana, 60.8 GiB)",
        "  6 (NVIDIA H100 80GB HBM3) is used by "
        "a process that cannot be seen from here (19.5 GiB of 79.6 GiB)",
        "  7 (NVIDIA H100 80GB HBM3) is named by Judge (from agg.yaml:20)",
        "  fix: ask for fewer, stop what uses the others, or name with gpus: what sections are to share",
    ]


def test_hidden_devices_are_said_to_be_hidden() -> None:
    problem = refused(Wish("Worker", 3, 1, CLASS), there=visible(EIGHT, "0,1"))
    assert "\n  CUDA_VISIBLE_DEVICES=0,1 shows 0, 1\n" in problem


@pytest.mark.parametrize("machine", ["no_library", "no_driver", "no_devices"])
def test_a_class_asks_for_nothing_where_no_gpu_is(machine: str) -> None:
    there = inventory(machine)
    assert given(Wish("Worker", 2, 1, CLASS), there=there) == {"Worker": [(), ()]}
    assert given(Wish("Worker", 1, 2, f"{CLASS}, tp 2 (from agg.yaml:9)"), there=there) == {"Worker": [()]}


def test_nor_where_all_are_hidden() -> None:
    assert given(Wish("Worker", 1, 1, CLASS), there=visible(EIGHT, "")) == {"Worker": [()]}
    problem = refused(Wish("Worker", 1, 1, FILE), there=visible(EIGHT, ""))
    assert "\n  CUDA_VISIBLE_DEVICES= shows none\n" in problem
    assert "fix: change CUDA_VISIBLE_DEVICES; for an engine that runs on the CPU" in problem


def test_a_user_who_asks_where_no_gpu_is() -> None:
    wishes = Wish("Lenient", 1, 1, CLASS), Wish("Worker", 2, 1, FILE)
    assert refused(*wishes, there=inventory("no_driver")).splitlines() == [
        "2 GPUs are asked for, but none is free",
        "  Worker asks for 2 × 1 (from agg.yaml:7)",
        "  this machine has no GPU that can be used: the NVIDIA driver is not loaded",
        "  fix: run this where GPUs are; for an engine that runs on the CPU, set resources: {gpu: 0}",
    ]


def test_a_driver_that_fails_is_a_problem_for_a_class_as_well() -> None:
    problem = refused(Wish("Worker", 1, 1, CLASS), there=inventory("driver_mismatch"))
    assert "the NVIDIA driver fails: RM has detected an NVML/RM version mismatch." in problem


# How many


@pytest.mark.parametrize(
    ("declared", "where", "derived", "expected"),
    [
        (1, CLASS, None, (1, CLASS)),
        (2, FILE, None, (2, FILE)),
        (2, FILE, 2, (2, FILE)),
        (1, CLASS, 1, (1, CLASS)),
        (1, CLASS, 4, (4, f"{CLASS}, tp 4 (from agg.yaml:9)")),
        (1, CLASS, 0, (0, f"{CLASS}, tp 4 (from agg.yaml:9)")),
    ],
)
def test_how_many(declared: int, where: str, derived: int | None, expected: tuple[int, str]) -> None:
    problems: list[str] = []
    assert gpus_of("Worker", declared, where, derived, "tp 4 (from agg.yaml:9)", problems) == expected
    assert problems == []


def test_two_words_of_the_users_that_contradict_each_other() -> None:
    problems: list[str] = []
    assert gpus_of("Worker", 1, FILE, 4, "tp 4 (from agg.yaml:9)", problems) == (1, FILE)
    assert problems == [
        "Worker: resources has gpu: 1 (from agg.yaml:7), "
        "but the engine takes 4, with tp 4 (from agg.yaml:9)\n"
        "  fix: set gpu: 4, or leave it out"
    ]


def described(folder: Path, **options: int) -> Description:
    file = folder / "engine.py"
    file.write_text(ENGINE)
    own = {
        key: Located(value, Origin("file", f"agg.yaml:{n}")) for n, (key, value) in enumerate(options.items())
    }
    return describe_here(str(file), Values(own=own))


@pytest.mark.parametrize(
    ("options", "count", "told"),
    [
        ({}, None, []),
        ({"depth": 3}, None, []),
        ({"tp": 4, "depth": 3}, 4, ["tp 4", "agg.yaml:0"]),
        ({"tp": 4, "pp": 2}, 8, ["tp 4", "agg.yaml:0", "pp 2", "agg.yaml:1"]),
        ({"tp": 4, "pp": 1}, 4, ["tp 4", "agg.yaml:0"]),
    ],
)
def test_what_an_engines_options_come_to(
    tmp_path: Path, options: dict[str, int], count: int | None, told: list[str]
) -> None:
    found = described(tmp_path, **options)
    assert found.gpus == count
    assert bool(found.gpus_where) == bool(told)
    assert all(word in found.gpus_where for word in told)
    assert "depth" not in found.gpus_where


# Whatever is asked for


def random_inventory(pick: random.Random) -> Inventory:
    gpus: list[Gpu] = []
    for index in range(pick.randrange(10)):
        gpu = Gpu(str(index), f"GPU-{index:04x}", "some GPU", total=80)
        instances = [
            Gpu(f"MIG-{index:02x}{n:02x}", f"MIG-{index:02x}{n:02x}", "some instance", total=10, parent=gpu)
            for n in range(pick.randint(1, 4))
        ]
        gpus += pick.choice([[gpu], [gpu], instances])
    return Inventory(
        tuple(dataclasses.replace(gpu, used=pick.choice([0, 0, 0, gpu.total])) for gpu in gpus),
        left_out=tuple(pick.choice([[], ["GPU 99: GPU is lost"]])),
    )


def random_wishes(pick: random.Random, there: Inventory) -> list[Wish]:
    wishes = []
    for number in range(pick.randrange(5)):
        replicas, count, where = pick.randrange(4), pick.randrange(4), pick.choice([CLASS, FILE])
        names = pick.sample(there.gpus, min(len(there.gpus), replicas * count))
        named = ",".join(gpu.uuid for gpu in names) if names and pick.random() < 0.25 else None
        wishes.append(Wish(f"S{number}", replicas, count, where, named, FILE))
    return wishes


def check(wishes: list[Wish], there: Inventory, found: dict[str, list[tuple[str, ...]]]) -> None:
    """Every rule of a placement that was accepted."""
    by_name = {gpu.name: gpu for gpu in there.gpus}
    named = {gpu for w in wishes if w.gpus and w.replicas for gpu in by_name.values() if gpu.uuid in w.gpus}
    given: list[str] = []
    assert list(found) == [wish.section for wish in wishes]
    for wish in wishes:
        places = found[wish.section]
        assert len(places) == wish.replicas
        if wish.gpus is not None:
            expected = wish.gpus.split(",") if wish.replicas else []
            assert [by_name[name].uuid for names in places for name in names] == expected
            continue
        is_excused = wish.where == CLASS and there.is_without
        assert {len(names) for names in places} <= {0 if is_excused else wish.count}
        given += itertools.chain.from_iterable(places)
    assert len(set(given)) == len(given)
    for name in given:
        assert not by_name[name].user
        assert by_name[name] not in named
    for names in itertools.chain.from_iterable(found.values()):
        assert len(names) < 2 or not any(by_name[name].parent for name in names)


def could_be(wishes: list[Wish], there: Inventory) -> bool:
    """Whether there is enough, counted without placing anything."""
    named = [w for w in wishes if w.gpus is not None and w.replicas]
    texts = [uuid for wish in named for uuid in str(wish.gpus).split(",")]
    parents = {gpu.uuid: gpu.parent for gpu in there.gpus}
    if any(w.replicas * w.count != len(str(w.gpus).split(",")) for w in named):
        return False
    if any(w.count > 1 and any(parents[u] for u in str(w.gpus).split(",")) for w in named):
        return False
    free = [gpu for gpu in there.gpus if not gpu.user and gpu.uuid not in texts]
    asking = [w for w in wishes if w.gpus is None and not (w.where == CLASS and there.is_without)]
    whole = sum(w.replicas * w.count for w in asking if w.count > 1)
    everything = sum(w.replicas * w.count for w in asking)
    return whole <= len([gpu for gpu in free if not gpu.parent]) and everything <= len(free)


def test_whatever_is_asked_for_is_given_by_the_rules_or_refused() -> None:
    pick = random.Random(20)
    accepted = 0
    for _ in range(4000):
        there = random_inventory(pick)
        wishes = random_wishes(pick, there)
        problems: list[str] = []
        found = place(wishes, there, problems)
        assert (not problems) == could_be(wishes, there), (wishes, there, problems)
        if not problems:
            accepted += 1
            check(wishes, there, found)
    assert 1000 < accepted < 3000
