"""What core does not know is the engine's: its own parser says what it means, each option alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from every_setting import WorkerSettings
from toy_engine import TOY, build_parser

from dynamo_core.args import Arguments, DynamoFlexibleArgumentParser, Engine, Settings, setting
from dynamo_core.deploy import BaseDeployment
from dynamo_core.errors import UserError

REQUIRED = ["--model", "m", "--component", "c"]


def resolve(*argv: str, deployment: type[BaseDeployment] | None = None) -> Arguments[WorkerSettings]:
    return DynamoFlexibleArgumentParser(WorkerSettings, deployment, engine=TOY).resolve([*REQUIRED, *argv])


def values(*argv: str) -> dict[str, tuple[Any, str]]:
    found, problems = resolve(*argv).engine.read()
    assert problems == []
    return {value.key: (value.value, str(value.origin)) for value in found}


def problems(*argv: str) -> list[str]:
    return resolve(*argv).engine.read()[1]


def write(folder: Path, text: str) -> str:
    file = folder / "engine.yaml"
    file.write_text(text)
    return str(file)


def test_flags_of_both_may_stand_in_any_order() -> None:
    argv = ["--max-len", "4096", "--status-port", "5", "--eager", "--sizes", "1", "2", "--dtype=float32"]
    arguments = resolve(*argv)
    assert arguments.settings.status_port == 5
    namespace = arguments.engine.namespace()
    assert (namespace.max_len, namespace.eager, namespace.sizes) == (4096, True, [1, 2])
    assert (namespace.dtype, namespace.model) == ("float32", "m")


def test_a_short_name_is_told_by_its_long_one() -> None:
    assert values("-m", "7") == {"max-len": (7, "-m")}


def test_a_negative_number_is_a_value() -> None:
    assert values("--offset", "-1") == {"offset": (-1, "--offset")}


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("max-len: 4096", "max_len", 4096),
        ("max-len: '4096'", "max_len", 4096),
        ("max_len: 4096", "max_len", 4096),
        ("-m: 4096", "max_len", 4096),
        ("fraction: 0.5", "fraction", 0.5),
        ("fraction: 1e-05", "fraction", 1e-05),
        ("offset: -3", "offset", -3),
        ("dtype: float32", "dtype", "float32"),
        ("eager: true", "eager", True),
        ("eager: false", "eager", False),
        ("prefix-caching: true", "prefix_caching", True),
        ("prefix-caching: false", "prefix_caching", False),
        ("no-prefix-caching: true", "prefix_caching", False),
        ("no-prefix-caching: false", "prefix_caching", True),
        ("no-eager: true", "eager", False),
        ("no-eager: false", "eager", True),
        ("sizes: [1, 2, 4]", "sizes", [1, 2, 4]),
        ("sizes: 5", "sizes", [5]),
        ("options: {a: [1, {b: true}]}", "options", {"a": [1, {"b": True}]}),
        ("options: [1, 2]", "options", [1, 2]),
        ("adapters: [{name: a, path: b}]", "adapters", [{"name": "a", "path": "b"}]),
        ("adapters: []", "adapters", []),
        ("revision: --odd", "revision", "--odd"),
        ("revision:", "revision", None),
    ],
)
def test_a_key_of_a_file_is_what_the_option_makes_of_it(
    tmp_path: Path, text: str, name: str, value: object
) -> None:
    namespace = resolve("-f", write(tmp_path, f"{text}\n")).engine.namespace()
    assert getattr(namespace, name) == value


def test_precedence_and_origins(tmp_path: Path) -> None:
    class Deployment(BaseDeployment):
        name = "c"
        engine_options = {"fraction": 0.1, "max-len": 1, "dtype": "auto", "offset": 1}

    first = tmp_path / "first.yaml"
    first.write_text("Common:\n  dtype: float32\nmax-len: 2\noffset: 2\n")
    second = tmp_path / "second.yaml"
    second.write_text("offset: 3\n")
    arguments = resolve(*("-f", str(first), "-f", str(second), "--max-len", "4"), deployment=Deployment)
    found = {value.key: (value.value, str(value.origin)) for value in arguments.engine.read()[0]}
    assert found == {
        "fraction": (0.1, f"class {Deployment.__qualname__}"),
        "dtype": ("float32", f"{first}:2"),
        "offset": (3, f"{second}:1"),
        "max-len": (4, "--max-len"),
    }


def test_common_holds_what_other_engines_know(tmp_path: Path) -> None:
    file = write(tmp_path, "Common:\n  max-len: 5\n  max-model-len: 9\n")
    assert values("-f", file) == {"max-len": (5, f"{file}:2")}


def test_everything_wrong_is_told_at_once_ours_and_the_engines(tmp_path: Path) -> None:
    file = write(tmp_path, "fraction: most\nsise: 5\nnamespce: x\neager: 2\n")
    with pytest.raises(UserError) as caught:
        DynamoFlexibleArgumentParser(WorkerSettings, engine=TOY).resolve(
            [
                "--component",
                "c",
                "-f",
                file,
                "--dtype",
                "float31",
                "--egaer",
                "--max-len=x",
                "--log-level",
                "loud",
            ]
        )
    assert str(caught.value).splitlines() == [
        "log-level: input should be 'debug', 'info', 'warning' or 'error'; found 'loud' (from --log-level)",
        "--model is required: give the flag, or set DYN_MODEL",
        f"fraction: expected a number; found 'most' (from {file}:1)",
        f"{file}:2: unknown key 'sise', also for Toy; did you mean sizes?",
        f"{file}:3: unknown key 'namespce', also for Toy; did you mean namespace?",
        f"eager: expected true or false; found 2 (from {file}:4)",
        "dtype: input should be one of auto, float32, bfloat16; found 'float31' (from --dtype); "
        "did you mean float32, bfloat16?",
        "unknown flag '--egaer', also for Toy; did you mean --eager?",
        "max-len: expected a whole number; found 'x' (from --max-len)",
    ]


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["--max-len", "1", "-m", "2"], "--max-len and -m contradict each other; keep one of the two"),
        (["--eager", "yes"], "--eager takes no value, found 'yes'"),
        (["--mod", "x"], "unknown flag '--mod', also for Toy; did you mean --model?"),
        (["--sizes"], "--sizes needs a value: --sizes SIZES …"),
        (["--worker-id", "5"], "Toy's --worker-id cannot be given: the worker counts itself"),
        (["--hf-token"], "--hf-token needs a value: --hf-token TOKEN"),
    ],
)
def test_what_the_engines_parser_refuses(argv: list[str], problem: str) -> None:
    assert problems(*argv) == [problem]


def test_a_switch_given_twice_and_differently() -> None:
    (problem,) = problems("--prefix-caching", "--no-prefix-caching")
    assert problem == "--prefix-caching and --no-prefix-caching contradict each other; keep one of the two"


def test_the_engine_under_another_name_of_what_is_shared() -> None:
    def build() -> Any:
        parser = build_parser()
        parser.add_argument("--model-path", dest="model")
        return parser

    parser = DynamoFlexibleArgumentParser(
        WorkerSettings, engine=Engine("Toy", build, shared={"model": "--model"})
    )
    found = parser.resolve([*REQUIRED, "--model-path", "x"]).engine.read()[1]
    assert found == ["--model-path: Toy's --model is set by --model; give that"]


def test_a_name_that_both_know_is_an_error_unless_it_is_shared() -> None:
    class ClashingSettings(Settings):
        "Clash"

        dtype: str = setting("auto", "Ours.")
        max_len: int = setting(1, "Ours as well.")

    arguments = DynamoFlexibleArgumentParser(ClashingSettings, engine=TOY).resolve(["--eager"])
    with pytest.raises(TypeError, match="Toy has options of the same names as ours: dtype, max-len"):
        arguments.engine.parser()


def test_without_an_engine_they_are_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        DynamoFlexibleArgumentParser(WorkerSettings).parse([*REQUIRED, "--eager"])
    assert exited.value.code == 2
    assert "unknown flag '--eager'" in capsys.readouterr().err


def test_a_class_with_an_attribute_that_nothing_reads() -> None:
    class Deployment(BaseDeployment):
        name = "c"
        drain_timout = 5

    with pytest.raises(TypeError, match="Deployment has drain_timout, which is no setting of its component"):
        DynamoFlexibleArgumentParser(WorkerSettings, Deployment)


def test_the_engine_is_not_imported_for_nothing() -> None:
    def build() -> Any:
        raise AssertionError("imported")

    parser = DynamoFlexibleArgumentParser(WorkerSettings, engine=Engine("Toy", build))
    assert parser.resolve([*REQUIRED, "--max-len", "5"]).engine.options
    with pytest.raises(UserError, match="log-level: input should be"):
        parser.resolve([*REQUIRED, "--log-level", "x"])


@pytest.mark.parametrize("text", ["revision: on", "revision: no"])
def test_text_that_yaml_would_change_is_not_taken(tmp_path: Path, text: str) -> None:
    (problem,) = problems("-f", write(tmp_path, f"{text}\n"))
    assert "revision: expected text; found " in problem
    assert problem.endswith("in a file, put text that looks like something else in quotes")


def test_a_declared_flag_that_the_engine_no_longer_has() -> None:
    engine = Engine("Toy", build_parser, shared={"model": "--model-path"})
    arguments = DynamoFlexibleArgumentParser(WorkerSettings, engine=engine).resolve([*REQUIRED, "--eager"])
    with pytest.raises(TypeError, match="Toy has no --model-path, which is declared as shared or kept"):
        arguments.engine.parser()
