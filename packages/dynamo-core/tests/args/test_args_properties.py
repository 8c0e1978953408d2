"""What holds for every input: a configuration survives every way of writing it, and no input is a crash.

The examples are the same on every run.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
import os
import typing
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from every_setting import DECLARED, WorkerSettings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_engine import TOY, build_parser

from dynamo_core.args import Arguments, DynamoFlexibleArgumentParser, Engine
from dynamo_core.args.command_line import FORMATS
from dynamo_core.args.settings import Declaration
from dynamo_core.args.show import dump, engine_rows, show
from dynamo_core.deploy import BaseDeployment
from dynamo_core.deploy.graph import GraphConfig, read_graph, split_overrides
from dynamo_core.errors import UserError

Strategy = st.SearchStrategy[Any]
Parser = DynamoFlexibleArgumentParser[WorkerSettings]


def examples(count: int) -> settings:
    """So many examples, the same ones on every run; a slow machine is no failure."""
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.large_base_example]
    return settings(max_examples=count, derandomize=True, deadline=None, suppress_health_check=checks)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("properties")


def _missing() -> ArgumentParser:
    raise UserError("Toy is not installed")


WITHOUT_TOY = Engine(TOY.name, _missing, shared=TOY.shared, kept=TOY.kept)
"""The same engine on a machine that does not have it."""


def parser(deployment: type[BaseDeployment] | None = None, engine: Engine | None = TOY) -> Parser:
    return DynamoFlexibleArgumentParser(WorkerSettings, deployment, engine=engine)


# Values, and how they are written

NASTY = [
    *("it's", 'a "b"', "two\nlines", "\n", "\n\n  x\n", " lead", "trail ", "\ttab", "a\rb\r\n", "\\n\\"),
    *("-x", "--model", "--model=x", "-", "-1", "---", "...", "- a", "? a", "#", "a #b", "a: b", ": ", ":"),
    *("no", "yes", "true", "null", "~", "1e3", "0x10", "1:30", "1_0", ".inf", "2020-01-01", "=", "<<", " "),
    *("{a: 1}", "[1]", "{", "]", "*a", "&a", "!tag", "%x", "@x", "`x`", "|", ">-", "a,b", '"', "'", "%(s)s"),
    *("ünïcode ☃ 漢字 🚀", "a\u2028b", "\ufeff", "\ufffe", "\x7f", "\x1b[31m", "a\x85b", "e\u0301", "$HOME"),
    *("$", "$$", "{}", "x" * 1500, "word " * 100, "a\n " * 50),
]
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0{")
TEXT = st.sampled_from(NASTY) | st.text(CHARACTERS, max_size=12).filter(lambda text: text != "--")
"""Without references to the environment, which have a test of their own below, and without `--`: Python
3.11's argparse takes `--flag=--` for an empty list."""
FULL_TEXT = TEXT.filter(bool)
ANY_TEXT = TEXT | st.sampled_from(["", "\0"])
WHOLE = st.integers(-(2**53), 2**53)
JSON = st.recursive(
    WHOLE | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | ANY_TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "a b", "é", "", "no", "1", '"', ": "]), inner, max_size=3)
    ),
    max_leaves=4,
)
OPTIONS: dict[str, Strategy] = {
    "max-len": WHOLE,
    "offset": WHOLE,
    "fraction": st.floats(allow_nan=False),
    "dtype": st.sampled_from(["auto", "float32", "bfloat16"]),
    "eager": st.just(True),
    "prefix-caching": st.booleans(),
    "sizes": st.lists(WHOLE, min_size=1, max_size=4),
    "options": JSON,
    "adapters": st.lists(JSON.filter(lambda item: type(item) is not float), max_size=3),
    "hf-token": ANY_TEXT,
    "revision": ANY_TEXT,
}
"""What the toy engine's options may become, by key. What turns `eager` off has a test of its own."""


def _allowed(declared: Declaration) -> Strategy:
    if declared.name == "gpus":
        return st.lists(st.sampled_from(["0", "11", "GPU-ab-01", "MIG-9"]), min_size=1, unique=True).map(
            ",".join
        )
    if declared.choices:
        return st.sampled_from(declared.choices)
    bounds = dict(limit.rsplit(" ", 1) for limit in declared.limits)
    low, high = (bounds.get(words) for words in ("at least", "at most"))
    if "int" in declared.type_names:
        return st.integers(low and int(low), high and int(high))
    if "float" in declared.type_names:
        bound = {"min_value": low and float(low), "max_value": high and float(high)}
        return st.floats(**bound, allow_nan=False, allow_infinity=False)
    return FULL_TEXT if "not empty" in declared.limits else ANY_TEXT


ALLOWED = {name: _allowed(declared) for name, declared in DECLARED.items()}
"""Every valid value of a setting but None, from its declaration."""
IN_ENVIRONMENT = {name: FULL_TEXT if v in (FULL_TEXT, ANY_TEXT) else v for name, v in ALLOWED.items()}
"""The same for a variable: an empty one counts as none, and it cannot hold a NUL."""


def quoted(text: str) -> str:
    """Text in double quotes, as YAML and TOML both read it."""
    return '"' + "".join(c if c.isascii() and c.isalnum() else f"\\U{ord(c):08x}" for c in text) + '"'


def written(value: Any, *, toml: bool) -> str:
    """A value as it stands in a file."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        pairs = (f"{quoted(k)}{' = ' if toml else ': '}{written(v, toml=toml)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(item, toml=toml) for item in value) + "]"
    if isinstance(value, float):
        number = repr(value) if "." in repr(value) else repr(value).replace("e", ".0e")
        return number.replace("inf", "inf" if toml else ".inf")
    return "null" if value is None else str(value).lower()


# Configurations

SOURCES = ("class", "a.yaml Common", "a.yaml", "b.toml Common", "b.toml", "environment", "flag")
"""Where a value can come from; of several the last wins."""
CHOICES = [chosen for count in (0, 1, 2) for chosen in itertools.combinations(SOURCES, count)]
OF_SETTINGS, OF_REQUIRED = st.sampled_from(CHOICES), st.sampled_from(CHOICES[1:])
OF_OPTIONS = st.sampled_from([chosen for chosen in CHOICES if "environment" not in chosen])
COIN = st.booleans()


@dataclass
class Configuration:
    """Values from many sources, and what they must come to."""

    attributes: dict[str, Any] = field(default_factory=dict)
    sections: dict[str, list[str]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    argv: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    namespace: dict[str, Any] = field(default_factory=dict)

    @property
    def deployment(self) -> type[BaseDeployment]:
        return type("Deployment", (BaseDeployment,), self.attributes)

    @property
    def secrets(self) -> list[str]:
        """What a dump leaves out, as flags."""
        given = {d.flag: self.settings.get(name) for name, d in DECLARED.items() if d.secret}
        given["--hf-token"] = self.namespace.get("hf_token")
        return [f"{flag}={value}" for flag, value in given.items() if value is not None]

    def line(self, folder: Path) -> list[str]:
        """The command line, with its files written."""
        words = []
        for name, header in (("a.yaml", "Common:"), ("b.toml", "[Common]")):
            own, common = (self.sections.get(section, []) for section in (name, f"{name} Common"))
            lines = [*own, *([header, *(f"  {line}" for line in common)] if common else [])]
            (folder / name).write_text("\n".join(lines), encoding="utf-8")
            words += ["-f", str(folder / name)] if lines else []
        return [*words, *self.argv]

    def write(self, section: str, key: str, value: Any) -> None:
        toml = section.startswith("b.toml")
        line = f"{quoted(key)}{' = ' if toml else ': '}{written(value, toml=toml)}"
        self.sections.setdefault(section, []).append(line)


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    """Valid values for any of the settings and the engine's options, from any of the sources."""
    config = Configuration()
    for declared in DECLARED.values():
        for source in draw(OF_REQUIRED if declared.required else OF_SETTINGS):
            _give_setting(draw, config, declared, source)
    for key, values in OPTIONS.items():
        for source in draw(OF_OPTIONS):
            _give_option(draw, config, key, draw(values), source)
    return config


def _give_setting(draw: st.DrawFn, config: Configuration, declared: Declaration, source: str) -> None:
    name = declared.name
    value = draw((IN_ENVIRONMENT if source == "environment" else ALLOWED)[name])
    is_optional = type(None) in typing.get_args(declared.annotation)
    if source == "a.yaml" and is_optional and name not in config.settings and draw(COIN):
        value = None
    config.settings[name] = value
    if source == "class":
        config.attributes["name" if name == "component" else name] = value
    elif source == "environment":
        config.environment[declared.env] = str(value)
    elif source == "flag":
        apart = draw(COIN) and (not str(value).startswith("-") or isinstance(value, int))
        config.argv += [declared.flag, str(value)] if apart else [f"{declared.flag}={value}"]
    else:
        config.write(source, declared.key, value)


def _give_option(draw: st.DrawFn, config: Configuration, key: str, value: Any, source: str) -> None:
    config.namespace[key.replace("-", "_")] = value
    if source == "flag":
        config.argv += _option_words(draw, key, value)
        return
    if key == "adapters":
        value = [_text_as_json(item) for item in value]
    elif key == "options":
        value = _text_as_json(value)
    if source == "class":
        config.attributes.setdefault("engine_options", {})[key] = value
    else:
        config.write(source, key.replace("-", "_") if draw(COIN) else key, value)


def _text_as_json(value: Any) -> Any:
    """Text in a file is an option's word as it stands, so that JSON keeps its quotes."""
    return json.dumps(value) if isinstance(value, str) else value


def _option_words(draw: st.DrawFn, key: str, value: Any) -> list[str]:
    if key in ("eager", "prefix-caching"):
        return [f"--{key}" if value else f"--no-{key}"]
    if key in ("sizes", "adapters"):
        return [f"--{key}", *(json.dumps(item) for item in value)]
    text = json.dumps(value) if key == "options" else str(value)
    if key == "max-len" and draw(COIN):
        return ["-m", text]
    return [f"--{key}", text] if draw(COIN) and not text.startswith("-") else [f"--{key}={text}"]


ENGINE_DEFAULTS = vars(build_parser().parse_args(["--model", "m"]))


def check(found: Arguments[WorkerSettings], config: Configuration) -> None:
    """That arguments are what the configuration must come to."""
    for name, declared in DECLARED.items():
        assert getattr(found.settings, name) == config.settings.get(name, declared.default), name
    expected = ENGINE_DEFAULTS | {"model": found.settings.model} | config.namespace
    assert vars(found.engine.namespace()) == expected


def dumped(folder: Path, arguments: Arguments[WorkerSettings]) -> list[str]:
    """The words that give a dump of the arguments."""
    rows, _ = engine_rows(arguments.engine)
    (folder / "dump.yaml").write_text(dump(arguments, rows), encoding="utf-8")
    return ["-f", str(folder / "dump.yaml")]


@examples(300)
@given(config=configurations())
def test_a_dump_gives_the_same_without_the_sources(folder: Path, config: Configuration) -> None:
    with patch.dict(os.environ, config.environment):
        first = parser(config.deployment).resolve(config.line(folder))
    check(first, config)
    check(parser().resolve([*dumped(folder, first), *config.secrets]), config)


@examples(100)
@given(config=configurations())
def test_a_dump_made_without_the_engine_gives_the_same_with_it(folder: Path, config: Configuration) -> None:
    if "--adapters" in config.argv and not config.namespace["adapters"]:
        return  # a flag without values is taken for a switch where nobody knows better
    with patch.dict(os.environ, config.environment):
        first = parser(config.deployment, WITHOUT_TOY).resolve(config.line(folder))
    check(parser().resolve([*dumped(folder, first), *config.secrets]), config)


@examples(300)
@given(config=configurations())
def test_a_command_line_gives_the_same_as_the_files(folder: Path, config: Configuration) -> None:
    worker = parser(config.deployment)
    with patch.dict(os.environ, config.environment):
        first = worker.resolve(config.line(folder))
        words = worker.words(first, first.engine.read()[0])
        check(worker.resolve([*words, *config.secrets]), config)


# Single cases of the same, that the configurations above leave out


@pytest.mark.parametrize(
    "text", ["${DYNAMO_TEST}", "${DYNAMO_TEST:-y}", "a${DYNAMO_TEST}b", "$${DYNAMO_TEST}"]
)
@pytest.mark.parametrize("flag", ["--namespace", "--revision"])
def test_what_looks_like_a_reference_survives_a_dump(folder: Path, flag: str, text: str) -> None:
    config = Configuration(settings={"model": "m", "component": "c"})
    (config.settings if flag == "--namespace" else config.namespace)[flag.removeprefix("--")] = text
    first = parser().resolve(["--model=m", "--component=c", flag, text])
    check(first, config)
    check(parser().resolve(dumped(folder, first)), config)


@pytest.mark.parametrize(
    ("attributes", "first", "second"),
    [
        ({"engine_options": {"eager": True}}, "", "eager: false"),
        ({}, "eager: true", "eager: false"),
        ({"engine_options": {"prefix-caching": False}}, "", "no-prefix-caching: false"),
    ],
    ids=["class", "earlier file", "opposite"],
)
def test_a_file_turns_a_switch_back(folder: Path, attributes: Any, first: str, second: str) -> None:
    config = Configuration(attributes, {"a.yaml": [first], "b.toml": [second.replace(":", " =")]})
    found = parser(config.deployment).resolve([*config.line(folder), "--model=m", "--component=c"])
    namespace = found.engine.namespace()
    assert (namespace.eager, namespace.prefix_caching) == (False, True)


def test_none_in_a_file_counts_the_same_in_a_command_line(folder: Path) -> None:
    config = Configuration({"name": "c", "model": "m", "served_model_name": "n"})
    config.write("a.yaml", "served-model-name", None)
    worker = parser(config.deployment)
    first = worker.resolve(config.line(folder))
    assert worker.resolve(worker.words(first, [])).settings == first.settings


def test_none_in_a_list_is_none(folder: Path) -> None:
    config = Configuration()
    config.write("a.yaml", "adapters", [None, {"a": None}])
    found = parser().resolve([*config.line(folder), "--model=m", "--component=c"])
    assert found.engine.namespace().adapters == [None, {"a": None}]


def test_a_dump_without_the_engine_keeps_what_is_for_other_engines_apart(folder: Path) -> None:
    config = Configuration(settings={"model": "m", "component": "c"}, namespace={"max_len": 5})
    config.write("a.yaml Common", "max-model-len", 9)
    config.write("a.yaml Common", "max-len", 5)
    first = parser(engine=WITHOUT_TOY).resolve([*config.line(folder), "--model=m", "--component=c"])
    check(parser().resolve(dumped(folder, first)), config)


@pytest.mark.parametrize("engine", [TOY, WITHOUT_TOY], ids=["engine", "engine not installed"])
@pytest.mark.parametrize("flag", ["--hf-token", "--hf_token"])
def test_a_secret_of_the_engine_is_seen_nowhere(folder: Path, engine: Engine, flag: str) -> None:
    config = Configuration()
    config.write("a.yaml", flag.removeprefix("--"), "geheim")
    worker = parser(engine=engine)
    found = worker.resolve([*config.line(folder), "--model=m", "--component=c"])
    rows, _ = engine_rows(found.engine)
    assert "geheim" not in dump(found, rows)
    assert not [style for style in FORMATS if "geheim" in show(found, rows, (), style)]


def test_a_command_line_has_no_secret_of_the_engine() -> None:
    worker = parser()
    found = worker.resolve(["--model=m", "--component=c", "--hf-token=geheim"])
    assert "geheim" not in " ".join(worker.words(found, found.engine.read()[0]))


# Any input at all


def _words(text: str) -> list[str]:
    return text.split()


HUGE = ["x" * 10_000, "[" * 5_000, "9" * 5_000, "-" * 1_000, "x" * 300 + ".yaml"]
ODD_NAMES = ["", ".", "a\0b", "\udcff", "\ud800", "x" * 300, "no such file", "é", "${X}", "-"]
WORDS = st.sampled_from(
    [
        *(*NASTY, *HUGE, *ODD_NAMES, "--", "\0", "-\udcff", '{"a": [1, {}]}', "[1, 2", "!!int x", "{a: *b}"),
        *_words(
            "= =1 -1e5 -.5 nan -inf true kubernetes auto 2020-13-45 good.yaml graph.yaml bad.yaml bad.toml"
        ),
    ]
) | st.text(st.characters(exclude_characters="/"), max_size=12)
"""Without slashes: what a test dumps or reads stays in its folder."""
FLAGS = st.sampled_from(
    [
        *(declared.flag for declared in DECLARED.values()),
        *build_parser()._option_string_actions,
        *_words(
            "-f --config -h --help --show-config --no-eager --no-model --max_len -m5 -x --mod --options.a"
        ),
        *_words("--options. --.a - --= --no- --Worker.replicas --Common.model"),
    ]
)
REQUESTS = st.sampled_from(
    [
        *_words(
            "--help --help= --help=engine --help=model --help=status-port --help=max-len --help=-m --help=--"
        ),
        *_words("--show-config --show-config=text --show-config=json --show-config=yaml --show-config=xml"),
        *_words("-f=good.yaml -f=graph.yaml -f=bad.yaml -f=bad.toml --dump-config=dump.yaml"),
        *_words("--namespace=\udcff --revision=\udcff --max-len=5 --eager --options=5 --drain-timeout=5"),
        *(f"{flag}={name}" for flag in ("-f", "--dump-config") for name in ODD_NAMES),
    ]
)
"""What a command line may ask for besides, and some that is right."""
GROUPS = st.one_of(
    st.tuples(FLAGS),
    st.tuples(FLAGS, WORDS),
    st.builds(lambda flag, word: (f"{flag}={word}",), FLAGS, WORDS),
    st.tuples(WORDS),
    st.tuples(REQUESTS),
)
ARGV = st.builds(
    lambda required, groups: [word for group in [required, *groups] for word in group],
    st.sampled_from([("--model", "m", "--component", "c"), ()]),
    st.lists(GROUPS, max_size=4),
)
PARSERS = {
    "engine": parser(),
    "no engine": parser(engine=None),
    "engine not installed": parser(engine=WITHOUT_TOY),
}
REQUIRED = ["--model=m", "--component=c"]
GRAPH = "Common:\n  model: m\nWorker:\n  component: dynamo_core\n  max-len: 5\n"


@pytest.fixture(scope="module")
def files(folder: Path) -> Path:
    """A folder with files that command lines may name."""
    texts = {"good.yaml": "max-len: 5\n", "bad.yaml": "model: [\n", "bad.toml": "= 1", "graph.yaml": GRAPH}
    for name, text in {**texts, "\udcff.yaml": "nats-server: nats://a:b@c"}.items():
        (folder / name).write_text(text)
    return folder


def use(argv: Sequence[str], names: Sequence[str] = tuple(PARSERS)) -> None:
    """Do all there is to do with a command line, but for printing; only a `UserError` is suppressed."""
    for worker in map(PARSERS.__getitem__, names):
        with contextlib.suppress(UserError):
            arguments = worker.resolve(argv)
            rows, _ = engine_rows(arguments.engine)
            dump(arguments, rows)
            show(arguments, rows, (), "json")
            worker.words(arguments, arguments.engine.values()[0])
            if worker.engine is TOY:
                arguments.engine.namespace()


def run(argv: Sequence[str], name: str) -> tuple[Any, str]:
    """The exit code and the messages of a process with this command line."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace")
    handlers, level = logging.root.handlers[:], logging.root.level
    logging.root.handlers[:] = []
    code: Any = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            PARSERS[name].parse(argv)
    except SystemExit as ended:
        code = ended.code
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    err.flush()
    return code, err.buffer.getvalue().decode()


NAMES = st.sampled_from([*PARSERS]).map(lambda name: (name,))


@examples(2300)
@given(argv=ARGV, names=NAMES)
def test_any_command_line(files: Path, argv: list[str], names: tuple[str]) -> None:
    with contextlib.chdir(files):
        use(argv, names)
        code, messages = run(argv, *names)
    assert code in (0, 2)
    assert ("error: " in messages) == (code == 2)
    assert "Traceback" not in messages


KEYS = st.sampled_from(
    [
        *(declared.key for declared in DECLARED.values()),
        *OPTIONS,
        *_words("max_len -m no-eager options.a max-len=5 config help 5 no ~ << {a:b} *a &a é"),
        *("", '"a b"', "? [a]", "[a]", "!!str a"),
        *_words("Common Worker component replicas resources env python"),
    ]
)
SCALARS = st.sampled_from(
    [
        *_words(
            "1 -1 1.5 1e3 0b_ 0x 1:30 1_000 0o17 .inf .nan +inf true no null ~ text --x = << @ ` \" ' *a"
        ),
        *_words("2020-01-01 2020-13-45 07:32:00 1979-05-27T07:32:00Z ${X} ${X:-y} ${HOME} ${ ${X:-${Y}}"),
        *("", "a: b", "!!int x", "!!float x", "!!bool x", "!!timestamp x", "!!binary aGk=", "!!binary é"),
        *(
            "!!set {a}",
            "!!omap [a: 1]",
            "!!python/object:os.system x",
            "!<%ff> a",
            "&a 1",
            "2020-01-01 10:00:00",
        ),
        *('"\\Uffffffff"', '"\\uD800"', '"\\0"', "|\n  a\n  b", ">-\n  a", "'''\na'''", '"""\na = 1"""'),
        *("[" * 20, "9" * 400, "x" * 300),
    ]
)


def _nested(inner: Strategy) -> Strategy:
    pairs = st.builds("{}{}{}".format, KEYS, st.sampled_from([": ", " = ", ":"]), inner)
    return st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(pairs, max_size=3).map(lambda items: f"{{{', '.join(items)}}}"),
    )


NODES = st.recursive(SCALARS, _nested, max_leaves=4)
INDENTS = st.sampled_from(["", "", "", "  ", "    ", "\t", "- "])
YAML_LINES = st.builds("{}{}: {}".format, INDENTS, KEYS, NODES) | st.sampled_from(
    [
        *(
            "Common:",
            "Worker:",
            "  component: dynamo_core",
            '  component: "a\\0.py"',
            "  <<: *a",
            "---",
            "...",
        ),
        *("%YAML 1.1", "%TAG ! x", "# a", "- a", "?", "\ufeff", "\x07", "\r"),
    ]
)
TOML_LINES = st.builds("{} = {}".format, KEYS, NODES) | st.sampled_from(
    [
        *("[Common]", "[[Common]]", "[Worker]", "component = 'dynamo_core'", "[a.b]", "[]", "[Common", "="),
        *("a.b.c = 1", "# a", "\ufeff", "\x07"),
    ]
)
BYTES = st.binary(max_size=40) | st.text(CHARACTERS, max_size=40).map(str.encode)


def documents(lines: Strategy) -> Strategy:
    """Texts of such lines, and bytes of any kind."""
    return st.lists(lines, max_size=6).map(lambda found: "\n".join(found).encode()) | BYTES


@examples(1800)
@given(content=documents(YAML_LINES), names=NAMES)
def test_any_yaml_file(folder: Path, content: bytes, names: tuple[str]) -> None:
    (folder / "any.yaml").write_bytes(content)
    use(["-f", str(folder / "any.yaml"), *REQUIRED], names)


@examples(1500)
@given(content=documents(TOML_LINES), names=NAMES)
def test_any_toml_file(folder: Path, content: bytes, names: tuple[str]) -> None:
    (folder / "any.toml").write_bytes(content)
    use(["-f", str(folder / "any.toml"), *REQUIRED], names)


ANY_BYTES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0=")
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),
    max_size=8,
)
"""What a variable can hold: also bytes that are no text, as Python shows them."""
VARIABLES = st.dictionaries(
    st.one_of(
        st.sampled_from([declared.env for declared in DECLARED.values()]),
        st.sampled_from(_words("DYN_ DYN_NAMESPCE DYN_HTTP_PORT DYN_COMPUTE_X DYN_KUBE_TOKEN DYN_é")),
        ANY_BYTES.map("DYN_{}".format),
    ),
    st.sampled_from([*NASTY, *HUGE, "", "-1", "32767", "nan", "debug", "etcd"]) | ANY_BYTES,
    max_size=4,
)


@examples(1500)
@given(variables=VARIABLES, names=NAMES)
def test_any_environment(variables: dict[str, str], names: tuple[str]) -> None:
    with patch.dict(os.environ, variables):
        use(REQUIRED, names)


OVERRIDDEN = st.builds("--{}.{}".format, st.sampled_from(["Worker", "Common", "Wroker", "é", "1"]), KEYS)
OVERRIDES = st.lists(
    st.one_of(
        st.builds(lambda flag, value: [f"{flag}={value}"], OVERRIDDEN, NODES | WORDS),
        st.tuples(OVERRIDDEN, NODES | WORDS),
        st.tuples(OVERRIDDEN | WORDS),
    ),
    max_size=4,
).map(lambda groups: [word for group in groups for word in group])


@examples(1300)
@given(content=st.just(GRAPH.encode()) | documents(YAML_LINES), overrides=OVERRIDES)
def test_any_serve_file(folder: Path, content: bytes, overrides: list[str]) -> None:
    (folder / "serve.yaml").write_bytes(content)
    with contextlib.suppress(UserError):
        assert isinstance(read_graph(folder / "serve.yaml", overrides), GraphConfig)


@examples(1300)
@given(words=OVERRIDES | ARGV)
def test_any_words_are_parted(files: Path, words: list[str]) -> None:
    with contextlib.chdir(files):
        others, overrides = split_overrides(words)
    assert sorted([*others, *overrides]) == sorted(words)


# Odd inputs that are too rare or too large for the examples above


def cases(**found: Any) -> pytest.MarkDecorator:
    """One test for each."""
    return pytest.mark.parametrize("case", found.values(), ids=[name.replace("_", " ") for name in found])


@cases(
    no_date="namespace: 2020-13-45",
    digits=f"max-len: {'9' * 5_000}",
    no_binary_number="max-len: 0b_",
    no_whole_number="max-len: !!int x",
    no_number="fraction: !!float x",
    no_truth_value="eager: !!bool x",
    no_time="revision: !!timestamp x",
    no_character='namespace: "\\Uffffffff"',
    no_version=f"%YAML {'1' * 5_000}.1\n---\nnamespace: n",
    deep=f"options: {'[' * 400}{']' * 400}",
    deeper=f"options: {'[' * 2_000}",
    in_itself="options: &a [*a]",
    date="revision: 2020-01-01",
    date_in_a_value="options: {since: 2020-01-01}",
    bytes="revision: !!binary aGk=",
    bytes_in_a_value="adapters: [{name: !!binary aGk=}]",
)
def test_an_odd_yaml_file(folder: Path, case: str) -> None:
    (folder / "odd.yaml").write_text(case)
    use(["-f", str(folder / "odd.yaml"), *REQUIRED])


@cases(
    digits=f"max-len = {'9' * 5_000}",
    deep=f"options = {'[' * 5_000}{']' * 5_000}",
    deep_keys=".".join(["options"] * 3_000) + " = 1",
    deep_keys_in_Common="[[Common]]\n" + ".".join(["a"] * 3_000) + " = 1",
    date="revision = 2020-01-01",
    date_in_a_value="options = {since = 2020-01-01}",
)
def test_an_odd_toml_file(folder: Path, case: str) -> None:
    (folder / "odd.toml").write_text(case)
    use(["-f", str(folder / "odd.toml"), *REQUIRED])


@cases(
    file_with_NUL=["-f", "a\0b"],
    file_with_surrogate=["-f", "\ud800"],
    deep_value_of_the_engine=["--options", "[" * 50_000],
    no_text=["--namespace=\udcff", "--show-config"],
    no_text_of_the_engine=["--revision=\udcff", "--show-config"],
    no_text_in_YAML=["--namespace=\udcff", "--show-config=yaml"],
    no_text_in_a_dump=["--namespace=\udcff", "--dump-config=dump.yaml"],
    no_text_in_the_name_of_a_dumped_file=["-f", "\udcff.yaml", "--dump-config=dump.yaml"],
    dump_with_NUL=["--dump-config=a\0b"],
    dump_with_surrogate=["--dump-config=\ud800"],
    dump_with_a_long_name=["--dump-config", "x" * 300],
)
def test_an_odd_command_line(files: Path, case: list[str]) -> None:
    with contextlib.chdir(files):
        use([*REQUIRED, *case])
        code, messages = run([*REQUIRED, *case], "engine")
    assert code in (0, 2)
    assert ("error: " in messages) == (code == 2)


@cases(
    no_date="--Worker.replicas=2020-13-45",
    no_whole_number="--Worker.resources=!!int x",
    digits=f"--Worker.replicas={'9' * 5_000}",
    deep=f"--Worker.options={'[' * 2_000}",
    no_character='--Worker.env={A: "\\Uffffffff"}',
    component_with_NUL='--Worker.component="a\\0.py"',
    interpreter_with_NUL='--Worker.python="a\\0"',
)
def test_an_odd_override(folder: Path, case: str) -> None:
    (folder / "serve.yaml").write_text(GRAPH)
    with contextlib.suppress(UserError):
        assert isinstance(read_graph(folder / "serve.yaml", [case]), GraphConfig)


def test_a_long_value_is_no_file() -> None:
    words = ["--Worker.model", "x" * 300 + ".yaml"]
    assert split_overrides(words) == ([], words)
