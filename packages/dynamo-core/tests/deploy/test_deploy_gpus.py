"""What GPUs there are, which of them are visible, and what `--gpus` makes of that.

No test here has seen a GPU: the machines were written by hand, in the shape in which NVML answers.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from machines import NVML, description, double, environment_of, inventory, put

from dynamo_core import environment
from dynamo_core.args import DynamoFlexibleArgumentParser, GpuSettings, RuntimeSettings
from dynamo_core.deploy.gpus import GpuProcess, Inventory, choose, read_gpus, visible, visible_gpus
from dynamo_core.errors import UserError
from dynamo_core.runtime.variables import gpu_variables
from dynamo_core.testing.processes import Stack

COMPONENT = """\
import os

from dynamo_core.args import DynamoFlexibleArgumentParser, GpuSettings, RuntimeSettings
from dynamo_core.runtime import dynamo_worker, run


class OwnSettings(GpuSettings, RuntimeSettings):
    "Own"


settings = DynamoFlexibleArgumentParser(OwnSettings).parse().settings


@dynamo_worker(settings)
async def worker(runtime):
    print(os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("CUDA_DEVICE_ORDER"))


run(worker())
"""
WHOLE = [f"GPU-000000{number:02x}-5c3e-4f0a-9b1d-0000000000{number:02x}" for number in range(0xA1, 0xA9)]
INSTANCES = [f"MIG-000000{number:02x}-7e21-5d44-8c0f-0000000000{number:02x}" for number in (0xC0, 0xC2)]


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "DYN_GPUS"):
        monkeypatch.delenv(name, raising=False)


def names(found: Inventory) -> list[str]:
    return [gpu.name for gpu in found.gpus]


def problem_of(action: object, *arguments: object) -> str:
    with pytest.raises(UserError) as raised:
        action(*arguments)  # type: ignore[operator]
    return str(raised.value)


def test_the_double_offers_nothing_that_nvml_has_not() -> None:
    functions = {name: value for name, value in vars(double()).items() if name.startswith("nvml")}
    real = importlib.import_module("pynvml")
    assert real.__file__ != str(NVML / "pynvml.py")
    assert len(functions) >= 12
    for name, function in functions.items():
        assert inspect.signature(function) == inspect.signature(getattr(real, name)), name


def test_the_real_module_is_asked_on_this_machine() -> None:
    found = read_gpus()
    assert found.has_driver or found.why == "no NVIDIA driver is installed"


@pytest.mark.parametrize(
    ("machine", "has_driver", "is_without", "reason"),
    [
        ("no_library", False, True, "no NVIDIA driver is installed"),
        ("no_driver", False, True, "the NVIDIA driver is not loaded"),
        ("no_devices", True, True, "the driver finds none"),
        (
            "driver_mismatch",
            True,
            False,
            "the NVIDIA driver fails: RM has detected an NVML/RM version mismatch.",
        ),
    ],
)
def test_machines_without_a_gpu(machine: str, has_driver: bool, is_without: bool, reason: str) -> None:
    found = inventory(machine)
    assert (found.gpus, found.has_driver, found.is_without) == ((), has_driver, is_without)
    assert found.summary == f"this machine has no GPU that can be used: {reason}"


def test_what_is_drawn_on_a_screen_does_not_count() -> None:
    (gpu,) = inventory("one_with_a_screen").gpus
    assert gpu.product == "NVIDIA GeForce RTX 4090"
    assert (gpu.processes, gpu.user) == ((), "")
    assert gpu.used == 480 * 2**20


def test_eight_of_which_two_are_in_use() -> None:
    found = inventory("eight_two_busy")
    assert names(found) == [str(index) for index in range(8)]
    assert [gpu.uuid for gpu in found.gpus] == WHOLE
    assert {gpu.name: gpu.user for gpu in found.gpus if gpu.user} == {
        "1": "a hidden process (process 4242, 60.8 GiB)",
        "6": "a process that cannot be seen from here (19.5 GiB of 79.6 GiB)",
    }
    assert found.summary == "this machine has 0, 1, 2, 3, 4, 5, 6, 7"


def test_the_version_of_the_driver() -> None:
    assert inventory("eight_idle").driver == "570.133.20"
    assert inventory("eight_two_busy").driver == ""  # one that does not tell


def test_a_process_is_told_by_name_and_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = tmp_path / "mine.json"
    machine.write_text(description("eight_two_busy").read_text().replace("4242", str(os.getpid())))
    put(monkeypatch, machine)
    me = psutil.Process()
    (process,) = read_gpus().gpus[1].processes
    assert process == GpuProcess(me.pid, me.name(), me.username(), 62300 * 2**20)
    assert str(process) == f"{me.name()} (process {me.pid}, user {me.username()}, 60.8 GiB)"


def test_where_processes_may_not_be_listed_memory_tells() -> None:
    assert [bool(gpu.user) for gpu in inventory("hidden_processes").gpus] == [False, True]


def test_a_lost_gpu_is_left_out_and_said_to_be() -> None:
    found = inventory("one_lost")
    assert names(found) == ["0", "2"]
    assert found.summary == "this machine has 0, 2 (GPU 1: GPU is lost)"


def test_a_gpu_without_memory_of_its_own() -> None:
    (gpu,) = inventory("shared_memory").gpus
    assert (gpu.total, gpu.used, gpu.user) == (0, 0, "")


def test_a_split_gpu_is_its_instances() -> None:
    found = inventory("mig_seven").gpus
    assert len(found) == 7
    assert all(gpu.name == gpu.uuid and gpu.uuid.startswith("MIG-") for gpu in found)
    assert {gpu.parent.name for gpu in found if gpu.parent} == {"0"}
    assert found[0].product == "NVIDIA A100-SXM4-40GB MIG 1g.5gb"


def test_split_and_whole_gpus_side_by_side() -> None:
    found = inventory("mig_mixed")
    assert names(found) == ["0", *INSTANCES, "2"]
    assert found.left_out == ("GPU 3 is split (MIG), but has no instance",)
    assert [gpu.name for gpu in found.gpus if gpu.user] == [INSTANCES[1]]


def test_every_description_is_read() -> None:
    machines = sorted(file.stem for file in NVML.glob("*.json"))
    assert len(machines) >= 12
    for machine in machines:
        found = inventory(machine)
        assert (not found.gpus) == found.summary.startswith("this machine has no GPU")


def test_nvml_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, description("eight_idle"))
    read_gpus()
    nvml = sys.modules["pynvml"]
    with pytest.raises(nvml.NVMLError_Uninitialized):
        nvml.nvmlDeviceGetCount()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ["0", "1", "2", "3", "4", "5", "6", "7"]),
        ("", []),
        (" ", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("3", ["3"]),
        ("3,1, 0", ["3", "1", "0"]),
        ("0,1,", ["0", "1"]),
        ("0,2,-1,1", ["0", "2"]),
        ("05", ["5"]),
        (WHOLE[4], ["4"]),
        (f"{WHOLE[2][:12]},{WHOLE[1]}", ["2", "1"]),
        (f"7,{WHOLE[0]}", ["7", "0"]),
    ],
)
def test_cuda_visible_devices(value: str | None, expected: list[str]) -> None:
    assert names(visible(inventory("eight_idle"), value)) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("0,8", "there is no 8"),
        ("0,,1", "there is no name between two commas"),
        ("0-3", "there is no 0-3"),
        ("all", "there is no all"),
        ("GPU-ffff", "there is no GPU-ffff"),
        ("GPU-000000a", "GPU-000000a is the beginning of 8 UUIDs"),
        ("1,2,1", "1 is named twice"),
        (f"1,{WHOLE[1]}", "1 is named twice"),
    ],
)
def test_where_cuda_would_stop_we_say_so(value: str, reason: str) -> None:
    assert problem_of(visible, inventory("eight_idle"), value) == (
        f"CUDA_VISIBLE_DEVICES is {value!r}, but {reason}; this machine has 0, 1, 2, 3, 4, 5, 6, 7\n"
        "  fix: unset CUDA_VISIBLE_DEVICES, or name what is there, each once"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (INSTANCES[1], [INSTANCES[1]]),
        (INSTANCES[1][:12], [INSTANCES[1]]),
        ("1", INSTANCES),
        (f"2,{WHOLE[1]}", ["2", *INSTANCES]),
    ],
)
def test_cuda_visible_devices_with_instances(value: str, expected: list[str]) -> None:
    assert names(visible(inventory("mig_mixed"), value)) == expected


def test_a_beginning_of_several_instances() -> None:
    assert "MIG-000000c is the beginning of 2 UUIDs" in problem_of(
        visible, inventory("mig_mixed"), "MIG-000000c"
    )


def test_what_is_hidden_on_purpose_is_no_failure() -> None:
    assert visible(inventory("eight_idle"), "").is_without
    assert visible(inventory("driver_mismatch"), "-1").is_without
    assert visible(inventory("no_library"), "0,1").is_without
    assert visible(inventory("eight_idle"), "").summary == "CUDA_VISIBLE_DEVICES= shows none"


def test_the_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, description("eight_idle"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,4")
    assert names(visible_gpus()) == ["5", "4"]


@pytest.mark.parametrize(
    ("machine", "value", "text", "reason"),
    [
        ("eight_idle", "0,1", "7", "there is no 7; CUDA_VISIBLE_DEVICES=0,1 shows 0, 1"),
        ("eight_idle", None, "8", "there is no 8; this machine has 0, 1, 2, 3, 4, 5, 6, 7"),
        ("eight_idle", None, f"0,{WHOLE[0]}", "0 is named twice; this machine has 0, 1, 2, 3, 4, 5, 6, 7"),
        ("one_lost", None, "1", "there is no 1; this machine has 0, 2 (GPU 1: GPU is lost)"),
        (
            "no_library",
            None,
            "0",
            "there is no 0; this machine has no GPU that can be used: no NVIDIA driver is installed",
        ),
        ("mig_mixed", "1", "1", f"GPU 1 is split (MIG) into {', '.join(INSTANCES)}"),
    ],
)
def test_naming_what_cannot_be_had(machine: str, value: str | None, text: str, reason: str) -> None:
    problem = problem_of(choose, visible(inventory(machine), value), text)
    assert problem.startswith(f"gpus is {text!r}, but {reason}")
    assert "\n  fix: " in problem


# The setting


def parse(*argv: str) -> str | None:
    return DynamoFlexibleArgumentParser(GpuSettings).resolve(argv).settings.gpus


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpus: 0", "0"),
        ("gpus: '0,1'", "0,1"),
        ("gpus: 0,1", "0,1"),
        ("gpus: [3, 1]", "3,1"),
        (f"gpus: [{WHOLE[0]}, {WHOLE[1]}]", f"{WHOLE[0]},{WHOLE[1]}"),
        ("gpus: '0, 1'", "0,1"),
        ("gpus:", None),
    ],
)
def test_every_form_in_a_file(tmp_path: Path, text: str, expected: str | None) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text(text)
    assert parse("-f", str(file)) == expected


@pytest.mark.parametrize("text", ["all", "0-3", "0,,1", "0,", "-1", "1.5", "cuda:0", "GPU-", "true"])
def test_what_names_no_device(text: str) -> None:
    problem = problem_of(parse, f"--gpus={text}")
    assert problem == (
        "gpus: expected indices as in 0,1 or UUIDs that begin with GPU- or MIG-; "
        f"found {text!r} (from --gpus)"
    )


def test_a_device_that_is_named_twice() -> None:
    assert problem_of(parse, "--gpus=0,1,0") == "gpus: a device is named twice; found '0,1,0' (from --gpus)"


@pytest.mark.parametrize(
    ("present", "asked"),
    [
        (None, "7"),
        ("0,1", "1"),
        ("0,1", "1,0"),
        ("0,1", WHOLE[7]),  # only the driver knows which index that has
        (WHOLE[0], "7"),
        (WHOLE[0], WHOLE[0][:12]),
        (WHOLE[0][:12], WHOLE[0]),
        (WHOLE[1], INSTANCES[0]),
    ],
)
def test_what_may_be_visible(monkeypatch: pytest.MonkeyPatch, present: str | None, asked: str) -> None:
    if present is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", present)
    assert [(v.name, v.value) for v in gpu_variables(GpuSettings(gpus=asked))] == [
        ("CUDA_VISIBLE_DEVICES", asked),
        ("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
    ]


@pytest.mark.parametrize(
    ("present", "asked", "hidden"),
    [
        ("0,1", "7", "7"),
        ("0,1", "1,2,3", "2, 3"),
        ("", "0", "0"),
        ("-1", "0", "0"),
        ("0,-1,1", "1", "1"),
        (f"{WHOLE[0]},{WHOLE[1]}", WHOLE[2], WHOLE[2]),
        (INSTANCES[0], INSTANCES[1], INSTANCES[1]),
    ],
)
def test_what_is_surely_hidden(
    monkeypatch: pytest.MonkeyPatch, present: str, asked: str, hidden: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", present)
    assert problem_of(gpu_variables, GpuSettings(gpus=asked)) == (
        f"gpus is {asked!r}, but CUDA_VISIBLE_DEVICES is {present!r}, which does not show {hidden}\n"
        "  fix: name some of those that it shows, or change CUDA_VISIBLE_DEVICES"
    )


def test_another_way_of_counting_is_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(GpuSettings, RuntimeSettings):
        "Own"

    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    parser = DynamoFlexibleArgumentParser(Own)
    parser.resolve([])
    assert "CUDA_DEVICE_ORDER is set to 'FASTEST_FIRST'" in problem_of(parser.resolve, ["--gpus=0"])


def test_everything_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(GpuSettings, RuntimeSettings):
        "Own"

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    problem = problem_of(DynamoFlexibleArgumentParser(Own).resolve, ["--gpus=1", "--frobnicate"])
    assert "unknown flag '--frobnicate'" in problem
    assert "gpus is '1'" in problem


# The effect: what libraries find in the process


@pytest.fixture
def component(tmp_path: Path) -> Path:
    file = tmp_path / "own.py"
    file.write_text(COMPONENT)
    return file


def run(component: Path, *flags: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(component), "--discovery-path", str(component.parent / "discovery"), *flags]
    return subprocess.run(
        argv, env={**environment.snapshot(), **env}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.setting("gpus")
@pytest.mark.parametrize(
    ("flags", "variables", "expected"),
    [
        ((), {}, "None None"),
        ((), {"CUDA_VISIBLE_DEVICES": "0,1"}, "0,1 None"),
        (("--gpus", "2,3"), {}, "2,3 PCI_BUS_ID"),
        (("--gpus", "1"), {"CUDA_VISIBLE_DEVICES": "0,1"}, "1 PCI_BUS_ID"),
        (("--gpus", "1"), {"CUDA_VISIBLE_DEVICES": WHOLE[1]}, "1 PCI_BUS_ID"),
        ((), {"DYN_GPUS": "5"}, "5 PCI_BUS_ID"),
    ],
)
def test_libraries_see_the_devices_and_no_others(
    component: Path, flags: tuple[str, ...], variables: dict[str, str], expected: str
) -> None:
    ended = run(component, *flags, env=environment_of("eight_two_busy", **variables))
    assert (ended.returncode, ended.stdout) == (0, f"{expected}\n"), ended.stderr


@pytest.mark.parametrize(
    ("machine", "asked", "variables", "reason"),
    [
        ("eight_idle", "7", {"CUDA_VISIBLE_DEVICES": "0,1"}, "which does not show 7"),
        ("eight_idle", "0", {"CUDA_VISIBLE_DEVICES": WHOLE[1]}, f"CUDA_VISIBLE_DEVICES={WHOLE[1]} shows 1"),
        ("eight_idle", "8", {}, "there is no 8; this machine has 0, 1, 2, 3, 4, 5, 6, 7"),
        ("no_driver", "0", {}, "this machine has no GPU that can be used: the NVIDIA driver is not loaded"),
        ("mig_mixed", ",".join(INSTANCES), {}, "of MIG instances a process can use no more than one"),
    ],
)
def test_a_component_does_not_start_without_its_devices(
    component: Path, machine: str, asked: str, variables: dict[str, str], reason: str
) -> None:
    ended = run(component, "--gpus", asked, env=environment_of(machine, **variables))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert reason in ended.stderr
    assert ended.stderr.count("error:") == 1
    assert "Traceback" not in ended.stderr


def test_the_scripted_engine_tells_its_devices(stack: Stack) -> None:
    worker = stack.start(
        "dynamo_core.testing.scripted",
        *("--model", stack.model, "--trace", "--gpus", "2,3"),
        env=environment_of("eight_idle"),
    )
    worker.wait_for_line("^gpus 2,3$")
    assert worker.stop() == 0


def test_show_config_lists_the_variables(component: Path) -> None:
    ended = run(component, "--gpus", "1", "--show-config=json", env={})  # no GPU is needed to read settings
    assert ended.returncode == 0, ended.stderr
    assert "CUDA_VISIBLE_DEVICES" in json.dumps(json.loads(ended.stdout))
