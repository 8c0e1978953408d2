"""A graph as a SLURM job. There is no SLURM here: `srun` is a double that runs each step on this machine."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dynamo_core import environment
from dynamo_core.deploy.graph import read_graph
from dynamo_core.deploy.plan import make_plan
from dynamo_core.errors import UserError
from dynamo_core.targets import Rendering, find_target
from dynamo_core.testing.processes import PORTS, Running, Stack

pytest_plugins = ["dynamo_core.testing.plugin"]

ROOT = Path(__file__).resolve().parents[1]
MOCKED = sorted((ROOT / "examples" / "mocker").glob("*.yaml"))
SRUN = """\
#!/bin/bash
# Takes what our scripts give, refuses all else, and passes on the signals that it gets, as srun does.
for word; do
    case $word in
        --exact | --nodes=1 | --ntasks=1 | --gres=none) ;;
        --cpus-per-task=* | --gpus-per-node=* | --job-name=*) ;;
        --output=*) exec >"${word#--output=}" 2>&1 ;;
        --*) echo "srun: unknown option $word"; exit 9 ;;
        *) break ;;
    esac
    shift
done
"$@" &
trap 'kill -TERM $!' TERM
wait $!
code=$?
while kill -0 $! 2>/dev/null; do wait $!; code=$?; done
exit $code
"""


def script_of(file: Path, *overrides: str, name: str = "g") -> str:
    target = find_target("slurm")
    plan = make_plan(read_graph(file, overrides), site=target.site())
    (text,) = target.render(Rendering(plan, name, "dynamo render slurm")).values()
    return text


def options(script: str) -> list[str]:
    return [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")]


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """What sbatch tells its script, with the double first in its PATH."""
    (tmp_path / "bin").mkdir()
    srun = tmp_path / "bin" / "srun"
    srun.write_text(SRUN)
    srun.chmod(0o755)
    return {
        "PATH": f"{srun.parent}:{environment.read('PATH')}",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_NAME": "g",
        "SLURM_JOB_ID": "7",
    }


@pytest.mark.parametrize("file", MOCKED, ids=lambda file: file.stem)
def test_shells_take_the_script(file: Path, tmp_path: Path) -> None:
    script = tmp_path / "g.sbatch"
    script.write_text(script_of(file))
    for checker in (["bash", "-n"], [f"{Path(sys.executable).parent}/shellcheck"]):
        done = subprocess.run([*checker, str(script)], capture_output=True, text=True)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


class Job:
    """The script as sbatch would run it."""

    def __init__(self, folder: Path, model: Path, env: dict[str, str]) -> None:
        self.folder = folder / "g-7"
        self.stack = Stack(folder, model)
        example = ROOT / "examples" / "mocker" / "disagg.yaml"
        overrides = ["--Common.model", str(model), "--Common.served-model-name", "tiny"]
        overrides += ["--Common.drain-timeout=2", f"--Frontend.http-port={self.stack.port}"]
        script = folder / "g.sbatch"
        script.write_text(script_of(example, *overrides, *ports()))
        self.script = Running(["/bin/bash", str(script)], env)
        self.stack.running.append(self.script)

    def steps(self) -> list[psutil.Process]:
        """The components; whatever else a step needs is theirs."""
        found = psutil.Process(self.script.pid).children(recursive=True)
        return [process for process in found if process.cmdline()[1:2] == ["-m"]]

    def logs(self) -> str:
        return "\n".join(f"{file.name}:\n{file.read_text()}" for file in sorted(self.folder.glob("*.log")))


def ports() -> list[str]:
    """Those of status servers, which the target would take from a row that others may use here."""
    return [f"--{half}.status-port={next(PORTS)}" for half in ("Prefill", "Decode")]


@pytest.fixture
def job(tmp_path: Path, tiny_model: Path, cluster: dict[str, str]) -> Iterator[Job]:
    job = Job(tmp_path, tiny_model, cluster)
    try:
        with job.stack:
            job.stack.wait_ready()
            yield job
    finally:  # a script that fails us may leave its steps behind
        for process in psutil.process_iter(["cmdline"]):
            if str(job.folder) in " ".join(process.info["cmdline"] or ()):
                process.kill()


def test_a_job_answers_and_ends_in_order(job: Job) -> None:
    answer = job.stack.client().completions.create(model="tiny", prompt="hello", max_tokens=4)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4
    assert job.folder.stat().st_mode & 0o077 == 0
    assert (job.folder / "discovery").is_dir()
    names = sorted(file.name for file in job.folder.glob("*.log"))
    assert names == ["decode-0.log", "frontend-0.log", "prefill-0.log"]
    steps = job.steps()
    assert len(steps) == 3
    for step in steps:
        words = step.cmdline()
        address = words[words.index("--rpc-host") + 1]
        assert address.count(".") == 3
        assert words[words.index("--discovery-path") + 1] == str(job.folder / "discovery")
    assert job.script.stop(signal.SIGTERM) == 0, job.logs()
    assert not any(step.is_running() for step in steps)


def test_a_component_that_dies_takes_the_job_with_it(job: Job) -> None:
    steps = job.steps()
    (decode,) = [step for step in steps if "dynamo_mocker.decode" in step.cmdline()]
    decode.kill()
    assert job.script.wait() == 128 + signal.SIGKILL, job.logs()
    assert not any(step.is_running() for step in steps)


def test_what_sbatch_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "graph.yaml"
    file.write_text(
        "Common: {drain-timeout: 45}\n"
        "Frontend: {component: dynamo_frontend}\n"
        "Worker:\n"
        "  component: dynamo_mocker.worker\n"
        "  model: m\n"
        "  replicas: 2\n"
        "  resources: {cpu: 9}\n"
        "  env: {MODE: a b, HF_TOKEN: hf_1234}\n"
    )
    script = script_of(file, name="my-graph")
    assert options(script) == [
        "job-name=my-graph",
        "ntasks=3",
        "cpus-per-task=9",
        "nodes=1",
        "signal=B:TERM@65",
        "output=%x-%j.log",
    ]
    assert "hf_1234" not in script
    assert ': "${HF_TOKEN:?has to be set in the shell that runs sbatch}"' in script
    starts = [shlex.split(line) for line in script.splitlines() if line.startswith("start ")]
    assert [words[1:4] for words in starts] == [
        ["frontend-0", "0", "4"],
        ["worker-0", "0", "9"],
        ["worker-1", "0", "9"],
    ]
    assert starts[1][4:6] == ["env", "MODE=a b"]
    numbers = [words[words.index("--status-port") + 1] for words in starts[1:]]
    assert len(set(numbers)) == 2
    several = script_of(file, "--Common.discovery-backend=etcd", "--Common.etcd-endpoints=http://e:2379")
    assert not any(option.startswith("nodes") for option in options(several))


def test_a_secret_that_is_not_there_is_named_before_anything_starts(
    tmp_path: Path, cluster: dict[str, str]
) -> None:
    file = tmp_path / "graph.yaml"
    file.write_text("Worker: {component: dynamo_mocker.worker, model: m, env: {HF_TOKEN: hf_1234}}\n")
    script = tmp_path / "g.sbatch"
    script.write_text(script_of(file))
    done = subprocess.run(["/bin/bash", script], capture_output=True, text=True, env=cluster)
    assert done.returncode != 0
    assert "HF_TOKEN: has to be set in the shell that runs sbatch" in done.stderr
    assert not (tmp_path / "g-7").exists()


def test_parts_of_processors_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "graph.yaml"
    file.write_text("Worker: {component: dynamo_mocker.worker, model: m, resources: {cpu: 500m}}\n")
    with pytest.raises(UserError, match=r"Worker: resources.cpu is '500m'.*\n  fix: give a whole number"):
        script_of(file)


def test_restarts_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "graph.yaml"
    file.write_text("Worker: {component: dynamo_mocker.worker, model: m, restart: always}\n")
    with pytest.raises(UserError, match=r"Worker: restart is always.*\n  fix: leave restart out"):
        script_of(file)
