"""Wrong inputs and what a user reads after each, complete and word by word.

A message states the rule, the value found, where it came from, and the next step if that is not obvious.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from every_setting import WorkerSettings
from toy_engine import TOY, build_parser

from dynamo_core.args import DynamoFlexibleArgumentParser, Engine, Settings, setting
from dynamo_core.deploy import BaseDeployment
from dynamo_core.errors import UserError


class JobSettings(Settings):
    "Job: what the worker's settings have none of"

    count: int | None = setting(None, "Count.", gt=0, lt=10)
    upper: bool = setting(False, "Capitals.", formerly={"capitals": "0.3"})
    new_name: str = setting("n", "Name.", formerly={"old_name": "0.3"})


class Deployment(BaseDeployment):
    name = "c"


class WrongDeployment(BaseDeployment):
    name = "c"
    drain_timeout = -1
    engine_options = {"max-len": "many"}


def _missing() -> None:
    raise UserError("Toy is not installed", fix="pip install toy")


def _two_names() -> object:
    parser = build_parser()
    parser.add_argument("--model-path", dest="model")
    return parser


NOT_INSTALLED = Engine("Toy", _missing)
UNDER_TWO_NAMES = Engine("Toy", _two_names, shared={"model": "--model"})
REQUIRED = ("--model", "m", "--component", "c")


@dataclass(frozen=True)
class Wrong:
    """A command line, the text of its file, its environment, and the message.

    `{file}`, `{folder}` and `{module}` stand for the file, its folder and the component's module.
    """

    message: str
    argv: Sequence[str] = ()
    file: str | bytes | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = "settings.yaml"
    settings: type[Settings] = WorkerSettings
    engine: Engine | None = None
    deployment: type[BaseDeployment] | None = None
    required: Sequence[str] = REQUIRED


def flags(message: str, *argv: str) -> Wrong:
    return Wrong(message, argv)


def job(message: str, *argv: str, file: str | None = None, **environment: str) -> Wrong:
    return Wrong(message, argv, file, environment, settings=JobSettings, required=())


def variables(message: str, **environment: str) -> Wrong:
    return Wrong(message, environment=environment)


def text(message: str, file: str | bytes) -> Wrong:
    return Wrong(message, file=file)


def toml(message: str, file: str) -> Wrong:
    return Wrong(message, file=file, name="settings.toml")


def section(message: str, file: str) -> Wrong:
    return Wrong(message, file=file, deployment=Deployment)


def toy(message: str, *argv: str, file: str | None = None, engine: Engine = TOY) -> Wrong:
    return Wrong(message, argv, file, engine=engine)


FLAGS = {
    "unknown flag": flags("unknown flag '--frobnicate'", "--frobnicate"),
    "misspelt flag": flags(
        "unknown flag '--stats-port'; did you mean --status-port, --status-host?", "--stats-port=5"
    ),
    "misspelt flag with a value": flags(
        "unknown flag '--stats-port'; did you mean --status-port, --status-host?", "--stats-port", "5"
    ),
    "abbreviated flag": flags(
        "unknown flag '--drain', and flags are not abbreviated; did you mean --drain-timeout?", "--drain", "3"
    ),
    "flag with underscores": flags(
        "unknown flag '--log_level'; did you mean --log-level?", "--log_level=info"
    ),
    "flag in capitals": flags("unknown flag '--Log-Level'; did you mean --log-level?", "--Log-Level=info"),
    "flag with one dash": flags("unknown flag '-model'; did you mean --model?", "-model"),
    "text setting negated": flags(
        "unknown flag '--no-namespace'; did you mean --namespace?", "--no-namespace"
    ),
    "value missing at the end": flags("--namespace needs a value: --namespace NAMESPACE", "--namespace"),
    "value missing before a flag": flags(
        "--namespace needs a value: --namespace NAMESPACE; found '--log-level', "
        "and a value that begins with a dash is given as --namespace=VALUE",
        *("--namespace", "--log-level", "info"),
    ),
    "value that begins with a dash": flags(
        "--namespace needs a value: --namespace NAMESPACE; found '-blue', "
        "and a value that begins with a dash is given as --namespace=VALUE\n"
        "unknown flag '-blue'",
        *("--namespace", "-blue"),
    ),
    "switch with a value": job(
        "--upper takes no value, found 'yes'; give --upper or --no-upper", "--upper=yes"
    ),
    "negated switch with a value": job(
        "--no-upper takes no value, found '1'; give --upper or --no-upper", "--no-upper=1"
    ),
    "switch and a word": job("--upper takes no value, found 'yes'", "--upper", "yes"),
    "both forms of a switch": job(
        "--upper and --no-upper contradict each other; keep one of the two", "--upper", "--no-upper"
    ),
    "flag twice": flags(
        "--status-port is given twice, as '1' and as '2'; keep one of the two",
        *("--status-port", "1", "--status-port=2"),
    ),
    "secret twice": flags(
        "--nats-server is given twice, as (hidden) and as (hidden); keep one of the two",
        *("--nats-server", "nats://a:b@c", "--nats-server", "nats://a:x@c"),
    ),
    "-f without a file": flags("-f needs a value: -f FILE", "-f"),
    "-f with an empty name": flags("-f needs a value: -f FILE", "-f="),
    "--config before a flag": flags(
        "--config needs a value: --config FILE; found '--log-level=info', "
        "and a value that begins with a dash is given as --config=VALUE",
        *("--config", "--log-level=info"),
    ),
    "--dump-config without a file": flags("--dump-config needs a value: --dump-config FILE", "--dump-config"),
    "--dump-config with an empty name": flags(
        "--dump-config needs a value: --dump-config FILE", "--dump-config="
    ),
    "--dump-config twice": flags(
        "--dump-config is given twice, as 'a' and as 'b'; keep one of the two",
        *("--dump-config=a", "--dump-config=b"),
    ),
    "--show-config of no format": flags(
        "--show-config: 'xml' is no format; there are text, json, yaml", "--show-config=xml"
    ),
    "--show-config misspelt": flags(
        "--show-config: 'jsn' is no format; there are text, json, yaml; did you mean json?",
        "--show-config=jsn",
    ),
    "--show-config twice": flags(
        "--show-config is given twice, as 'json' and as 'yaml'; keep one of the two",
        *("--show-config=json", "--show-config=yaml"),
    ),
    "--show-config and a word": flags(
        "unexpected argument 'json'; a value of --show-config is given as --show-config=json",
        *("--show-config", "json"),
    ),
    "stray words": flags("unexpected argument 'serve'\nunexpected argument ''", "serve", ""),
    "lone dashes": flags("unexpected argument '-'\nunknown flag '--'", "-", "--"),
    "required": Wrong("--model is required: give the flag, or set DYN_MODEL", required=("--component", "c")),
}
NO_INTEGER = "input should be a valid integer, unable to parse string as an integer"
NO_NUMBER = "input should be a valid number, unable to parse string as a number"
QUOTES = "; in a file, put text that looks like something else in quotes"
NO_LEVEL = "log-level: input should be 'debug', 'info', 'warning' or 'error'"
VALUES = {
    "word for an integer": flags(
        f"status-port: {NO_INTEGER}; found 'http' (from --status-port)", "--status-port", "http"
    ),
    "fraction for an integer": flags(
        f"status-port: {NO_INTEGER}; found '1.5' (from --status-port)", "--status-port=1.5"
    ),
    "fraction for an integer in a file": text(
        "status-port: input should be a valid integer, got a number with a fractional part; "
        "found 1.5 (from {file}:1)",
        "status-port: 1.5",
    ),
    "nothing for an integer": flags(
        f"status-port: {NO_INTEGER}; found '' (from --status-port)", "--status-port="
    ),
    "word for a number": flags(
        f"drain-timeout: {NO_NUMBER}; found 'soon' (from --drain-timeout)", "--drain-timeout", "soon"
    ),
    "nan": flags(
        "drain-timeout: input should be a finite number; found 'nan' (from --drain-timeout)",
        "--drain-timeout=nan",
    ),
    "inf": text(
        "drain-timeout: input should be a finite number; found inf (from {file}:1)", "drain-timeout: .inf"
    ),
    "truth value for an integer": text(
        f"status-port: {NO_INTEGER}; found True (from {{file}}:1)", "status-port: yes"
    ),
    "truth value for a number": text(
        f"drain-timeout: {NO_NUMBER}; found False (from {{file}}:1)", "drain-timeout: off"
    ),
    "choice nearly": flags(
        f"{NO_LEVEL}; found 'warn' (from --log-level); did you mean warning?", "--log-level", "warn"
    ),
    "choice": flags(
        "request-plane: input should be 'tcp' or 'nats'; found 'pigeon' (from --request-plane)",
        "--request-plane=pigeon",
    ),
    "truth value for a choice": text(f"{NO_LEVEL}; found False (from {{file}}:1)", "log-level: no"),
    "long choice": flags(
        f"{NO_LEVEL}; found 'xxxxxxxxxxxx...xxxxxxxxxxxxx' (from --log-level)", f"--log-level={'x' * 90}"
    ),
    "too small": flags(
        "status-port: input should be greater than or equal to -1; found '-2' (from --status-port)",
        *("--status-port", "-2"),
    ),
    "too big": flags(
        "status-port: input should be less than or equal to 32767; found '40000' (from --status-port)",
        "--status-port=40000",
    ),
    "on the lower bound": job("count: input should be greater than 0; found '0' (from --count)", "--count=0"),
    "on the upper bound": job(
        "count: input should be less than 10; found 10 (from {file}:1)", file="count: 10"
    ),
    "empty text": flags(
        "discovery-path: string should have at least 1 character; found '' (from --discovery-path)",
        "--discovery-path=",
    ),
    "empty optional text": flags(
        "served-model-name: string should have at least 1 character; found '' (from --served-model-name)",
        *("--served-model-name", ""),
    ),
    "list for text": text(
        "namespace: input should be a valid string; found ['a', 'b'] (from {file}:1)", "namespace: [a, b]"
    ),
    "number for text": text(
        "namespace: input should be a valid string; found 5 (from {file}:1)" + QUOTES, "namespace: 5"
    ),
    "truth value for text": text(
        "namespace: input should be a valid string; found False (from {file}:1)" + QUOTES, "namespace: no"
    ),
    "list for a secret": text(
        "nats-server: input should be a valid string; found (hidden) (from {file}:1)", "nats-server: [a:b@c]"
    ),
    "word for a switch": job(
        "upper: input should be a valid boolean, unable to interpret input; found 'maybe' (from {file}:1)",
        file="upper: maybe",
    ),
    "value of the class": Wrong(
        "drain-timeout: input should be greater than or equal to 0; found -1 (from class WrongDeployment)\n"
        "max-len: expected a whole number; found 'many' (from class WrongDeployment)",
        deployment=WrongDeployment,
        engine=TOY,
    ),
}
ENVIRONMENT = {
    "misspelt variable": variables(
        "DYN_NAMESPCE is set, but nothing reads it; did you mean DYN_NAMESPACE, DYN_NAMESPACE_PREFIX, "
        "DYN_NAMESPACE_WORKER_SUFFIX?",
        DYN_NAMESPCE="n",
    ),
    "unknown variable": variables(
        "DYN_SOMETHING_ELSE_ALTOGETHER is set, but nothing reads it; unset it",
        DYN_SOMETHING_ELSE_ALTOGETHER="1",
    ),
    "variable in small letters": variables(
        "DYN_namespace is set, but nothing reads it; unset it", DYN_namespace="n"
    ),
    "type of a variable": variables(
        f"status-port: {NO_INTEGER}; found 'http' (from DYN_SYSTEM_PORT)", DYN_SYSTEM_PORT="http"
    ),
    "choice of a variable": variables(
        f"{NO_LEVEL}; found 'DEBUG' (from DYN_LOG_LEVEL); did you mean debug?", DYN_LOG_LEVEL="DEBUG"
    ),
    "switch of a variable": job(
        "upper: input should be a valid boolean, unable to interpret input; found 'maybe' (from DYN_UPPER)",
        DYN_UPPER="maybe",
    ),
}
NO_REFERENCE = "${NO_SUCH} is not set\n  fix: set it, or give a default: ${NO_SUCH:-value}"
FILES = {
    "missing file": flags(
        "cannot read {folder}/missing.yaml: No such file or directory\n"
        "  fix: check the path and its permissions",
        *("-f", "{folder}/missing.yaml"),
    ),
    "folder": flags(
        "cannot read {folder}: Is a directory\n  fix: check the path and its permissions", "-f", "{folder}"
    ),
    "not UTF-8": text("{file} is not UTF-8 text: invalid start byte at byte 7", b"model: \xff\n"),
    "YAML that goes on": text(
        "{file}:3: not valid YAML: expected ',' or ']', but got '<stream end>'", "model: m\nother: [1, 2\n"
    ),
    "YAML with a tab": text(
        "{file}:2: not valid YAML: found character '\\t' that cannot start any token",
        "namespace: n\n\tendpoint: e\n",
    ),
    "YAML with two colons": text(
        "{file}:1: not valid YAML: mapping values are not allowed here", "namespace: a: b\n"
    ),
    "YAML with an unknown anchor": text(
        "{file}:1: not valid YAML: found undefined alias 'e'", "endpoint: *e\n"
    ),
    "TOML": toml("{file}: not valid TOML: Invalid value (at line 1, column 13)", "namespace = \n"),
    "YAML in a TOML file": toml(
        "{file}: not valid TOML: Expected '=' after a key in a key/value pair (at line 1, column 10)",
        "namespace: n\n",
    ),
    "key twice": text(
        "{file}:3: 'model' is given twice, first on line 1\n  fix: keep one of the two",
        "model: m\nendpoint: e\nmodel: n\n",
    ),
    "key that is no text": text("{file}:1: a key must be text, found 5", "5: five\n"),
    "list": text("{file}:1: expected `key: value` lines", "- model\n"),
    "words": text("{file}:1: expected `key: value` lines", "just words\n"),
    "unknown key": text("{file}:2: unknown key 'frobnicate'", "endpoint: e\nfrobnicate: 1\n"),
    "misspelt key": text("{file}:1: unknown key 'name-space'; did you mean namespace?", "name-space: n\n"),
    "key with underscores": text(
        "{file}:1: unknown key 'log_level'; did you mean log-level?", "log_level: info\n"
    ),
    "key with dashes before": text("{file}:1: unknown key '--model'; did you mean model?", "--model: m\n"),
    "key negated": job("{file}:1: unknown key 'no-upper'; did you mean upper?", file="no-upper: true\n"),
    "Common that is no section": text(
        "{file}:1: Common must be a section of keys, found text", "Common: m\n"
    ),
    "reference to nothing": text("{file}:1: namespace: " + NO_REFERENCE, "namespace: ${NO_SUCH}\n"),
    "reference to a wrong value": Wrong(
        f"status-port: {NO_INTEGER}; found 'http' (from {{file}}:1 with ${{SUCH}})",
        file="status-port: ${SUCH}\n",
        environment={"SUCH": "http"},
    ),
    "wrong default of a reference": text(
        f"status-port: {NO_INTEGER}; found 'http' (from {{file}}:1 with ${{NO_SUCH}})",
        "status-port: ${NO_SUCH:-http}\n",
    ),
    "type in a file": text(
        f"status-port: {NO_INTEGER}; found 'http' (from {{file}}:2)", "# mine\nstatus-port: http\n"
    ),
    "time in a TOML file": toml(
        "{file}: 07:32:00 is a time of day, which is no value of a configuration\n"
        "  fix: put it in quotes, if it is meant as text",
        "model = 07:32:00\n",
    ),
    "type in a TOML file": toml(
        f"status-port: {NO_INTEGER}; found 'http' (from {{file}}:3)",
        "# mine\n[Common]\nstatus-port = 'http'\n",
    ),
    "no section for the component": section(
        "{file}: it has no section for {module}\n"
        "  fix: give a file with the keys of one component, or start the graph with dynamo serve",
        "A:\n  component: somebody.else\n",
    ),
    "two sections for the component": section(
        "{file}: it has 2 sections, A and B, for {module}\n"
        "  fix: give a file with the keys of one component, or start the graph with dynamo serve",
        "A:\n  component: {module}\nB:\n  component: {module}\n",
    ),
    "wrong section": section(
        "{file}:3: unknown key 'name-space'; did you mean namespace?\n"
        f"{NO_LEVEL}; found 'loud' (from {{file}}:4)",
        "A:\n  component: {module}\n  name-space: n\n  log-level: loud\n",
    ),
    "section and keys outside of it": section(
        "{file}:1: endpoint must be a section with keys of its own, found text\n"
        "  fix: write settings for all components under Common:",
        "endpoint: e\nA:\n  component: {module}\n",
    ),
}
ENGINE = {
    "engine: unknown flag": toy("unknown flag '--frobnicate', also for Toy", "--frobnicate", "x"),
    "engine: misspelt flag": toy("unknown flag '--egaer', also for Toy; did you mean --eager?", "--egaer"),
    "engine: misspelt flag of ours": toy(
        "unknown flag '--log-levl', also for Toy; did you mean --log-level?", "--log-levl=info"
    ),
    "engine: negated flag that is none": toy(
        "unknown flag '--no-max-len', also for Toy; did you mean --max-len?", "--no-max-len"
    ),
    "engine: unknown key": toy("{file}:1: unknown key 'frobnicate', also for Toy", file="frobnicate: 1\n"),
    "engine: misspelt key": toy(
        "{file}:1: unknown key 'max-lenn', also for Toy; did you mean max-len?", file="max-lenn: 1\n"
    ),
    "engine: key with its value": toy(
        "{file}:1: unknown key 'max-len=5', also for Toy; did you mean max-len?", file="max-len=5: 3\n"
    ),
    "engine: type": toy("max-len: expected a whole number; found 'x' (from --max-len)", "--max-len", "x"),
    "engine: type in a file": toy(
        "max-len: expected a whole number; found 'x' (from {file}:2)", file="\nmax-len: x\n"
    ),
    "engine: truth value for an integer": toy(
        "max-len: expected a whole number; found True (from {file}:1)", file="max-len: yes\n"
    ),
    "engine: one of a list": toy(
        "sizes: expected a whole number; found [1, 'two'] (from {file}:1)", file="sizes: [1, two]\n"
    ),
    "engine: list for a number": toy(
        "fraction: expected a number; found [1] (from {file}:1)", file="fraction: [1]\n"
    ),
    "engine: choice nearly": toy(
        "dtype: input should be one of auto, float32, bfloat16; found 'float31' (from --dtype); "
        "did you mean float32, bfloat16?",
        "--dtype=float31",
    ),
    "engine: choice": toy(
        "dtype: input should be one of auto, float32, bfloat16; found 'half' (from {file}:1)",
        file="dtype: half\n",
    ),
    "engine: switch and a word": toy("--eager takes no value, found 'yes'", "--eager", "yes"),
    "engine: switch with a value": toy("--eager takes no value, found 'yes'", "--eager=yes"),
    "engine: switch in a file": toy(
        "eager: expected true or false; found 'maybe' (from {file}:1)", file="eager: maybe\n"
    ),
    "engine: flag twice": toy(
        "--max-len and -m contradict each other; keep one of the two", "--max-len", "1", "-m", "2"
    ),
    "engine: both forms of a switch": toy(
        "--prefix-caching and --no-prefix-caching contradict each other; keep one of the two",
        *("--prefix-caching", "--no-prefix-caching"),
    ),
    "engine: secret twice": toy(
        "--hf-token is given twice, as (hidden) and as (hidden); keep one of the two",
        *("--hf-token", "geheim", "--hf-token", "secret"),
    ),
    "engine: secret missing": toy("--hf-token needs a value: --hf-token TOKEN", "--hf-token"),
    "engine: kept flag": toy(
        "Toy's --worker-id cannot be given: the worker counts itself", "--worker-id", "5"
    ),
    "engine: kept key": toy(
        "{file}:1: Toy's --worker-id cannot be given: the worker counts itself", file="worker-id: 5\n"
    ),
    "engine: shared flag": toy(
        "--model-path: Toy's --model is set by --model; give that", "--model-path=x", engine=UNDER_TWO_NAMES
    ),
    "engine: shared key": toy(
        "{file}:1: Toy's --model is set by --model; give that", file="model-path: x\n", engine=UNDER_TWO_NAMES
    ),
    "engine: value missing": toy("--max-len needs a value: --max-len LEN", "--max-len"),
    "engine: values missing": toy("--sizes needs a value: --sizes SIZES …", "--sizes"),
    "engine: too many values": toy(
        "max-len: unrecognized arguments: 2; found ['1', '2'] (from --max-len)", "--max-len", "1", "2"
    ),
    "engine: no values in a file": toy(
        "sizes: expected at least one argument; found [] (from {file}:1)", file="sizes: []\n"
    ),
    "engine: not installed": Wrong(
        f"{NO_LEVEL}; found 'x' (from --log-level)\n"
        "the flags for Toy were not checked: Toy is not installed\n  fix: pip install toy",
        argv=("--max-len=x", "--log-level=x"),
        engine=NOT_INSTALLED,
    ),
}
DEPRECATED = {
    "both names": job(
        "--old-name and --new-name contradict each other; keep one of the two",
        *("--old-name=a", "--new-name=b"),
    ),
    "both names of a switch": job(
        "--capitals and --no-upper contradict each other; keep one of the two", "--capitals", "--no-upper"
    ),
    "both names in a file": job(
        "{file}:1: old-name is the former name of new-name, which {file}:2 gives as well; "
        "keep one of the two",
        file="old-name: a\nnew-name: b\n",
    ),
    "both names in Common": job(
        "{file}:2: old-name is the former name of new-name, which {file}:3 gives as well; "
        "keep one of the two",
        file="Common:\n  old-name: a\n  new-name: b\n",
    ),
    "former name twice": job(
        "--old-name is given twice, as 'a' and as 'b'; keep one of the two", "--old-name=a", "--old-name=b"
    ),
    "former switch with a value": job(
        "--capitals takes no value, found 'yes'; give --upper or --no-upper", "--capitals=yes"
    ),
}
SEVERAL = {
    "several": Wrong(
        "unknown flag '--staus-port'; did you mean --status-port, --status-host?\n"
        "unexpected argument 'serve'\n"
        "--namespace needs a value: --namespace NAMESPACE\n"
        "{file}:1: unknown key 'endpont'; did you mean endpoint, otlp-endpoint, etcd-endpoints?\n"
        "DYN_HTTP_PROT is set, but nothing reads it; did you mean DYN_HTTP_PORT, DYN_HTTP_HOST, "
        "DYN_TCP_RPC_PORT?\n"
        f"{NO_LEVEL}; found 'loud' (from {{file}}:2)\n"
        "drain-timeout: input should be greater than or equal to 0; found '-1' (from DYN_DRAIN_TIMEOUT)\n"
        "--model is required: give the flag, or set DYN_MODEL",
        argv=("--staus-port=4", "serve", "--namespace"),
        file="endpont: e\nlog-level: loud\n",
        environment={"DYN_HTTP_PROT": "1", "DYN_DRAIN_TIMEOUT": "-1"},
        required=("--component", "c"),
    ),
    "several, with an engine": Wrong(
        "--namespace needs a value: --namespace NAMESPACE; found '--dtype=x', "
        "and a value that begins with a dash is given as --namespace=VALUE\n"
        f"{NO_LEVEL}; found 'x' (from --log-level)\n"
        "max-len: expected a whole number; found 'x' (from {file}:1)\n"
        "{file}:2: unknown key 'endpont', also for Toy; "
        "did you mean endpoint, otlp-endpoint, etcd-endpoints?\n"
        "dtype: input should be one of auto, float32, bfloat16; found 'x' (from --dtype)\n"
        "unknown flag '--egaer', also for Toy; did you mean --eager?",
        argv=("--namespace", "--dtype=x", "--egaer", "--log-level=x"),
        file="max-len: x\nendpont: e\n",
        engine=TOY,
    ),
    "several in a file with references": Wrong(
        "{file}:2: namespace: " + NO_REFERENCE + "\n"
        "{file}:3: unknown key 'endpont'; did you mean endpoint, otlp-endpoint, etcd-endpoints?\n"
        f"{NO_LEVEL}; found 'loud' (from {{file}}:4)",
        file="model: m\nnamespace: ${NO_SUCH}\nendpont: e\nlog-level: loud\n",
        required=("--component", "c"),
    ),
}
TABLE = {**FLAGS, **VALUES, **ENVIRONMENT, **FILES, **ENGINE, **DEPRECATED, **SEVERAL}


@pytest.mark.parametrize("wrong", TABLE.values(), ids=list(TABLE))
def test_a_wrong_input(wrong: Wrong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / wrong.name
    for name, value in wrong.environment.items():
        monkeypatch.setenv(name, value)

    def filled(text: str) -> str:
        places = {"{file}": str(file), "{folder}": str(tmp_path), "{module}": Deployment.__module__}
        for place, name in places.items():
            text = text.replace(place, name)
        return text

    if wrong.file is not None:
        content = wrong.file if isinstance(wrong.file, bytes) else filled(wrong.file).encode()
        file.write_bytes(content)
    parser = DynamoFlexibleArgumentParser(wrong.settings, wrong.deployment, engine=wrong.engine)
    argv = [*(["-f", str(file)] if wrong.file is not None else []), *wrong.required, *wrong.argv]
    with pytest.raises(UserError) as caught:
        parser.resolve([filled(word) for word in argv]).engine.values()
    assert str(caught.value) == filled(wrong.message)


SECRETS = {
    "twice": ["--hf-token=geheim", "--hf-token=other"],
    "too many": ["--hf-token", "other", "geheim"],
    "missing": ["--hf-token", "--max-len", "x"],
    "ours twice": ["--nats-server=geheim", "--nats-server=other"],
    "ours empty": ["--nats-server=geheim", "--etcd-endpoints="],
    "misspelt": ["--hf-tokn", "geheim", "--nats-servr=geheim"],
}


@pytest.mark.parametrize("argv", SECRETS.values(), ids=list(SECRETS))
def test_no_message_holds_a_secret(argv: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        DynamoFlexibleArgumentParser(WorkerSettings, engine=TOY).resolve([*REQUIRED, *argv]).engine.values()
    assert "geheim" not in str(caught.value)


WARNINGS = {
    "flag": (["--old-name=a"], "", "--old-name is deprecated and goes in 0.3; it is now --new-name"),
    "switch": (["--capitals"], "", "--capitals is deprecated and goes in 0.3; it is now --upper"),
    "negated switch": (
        ["--no-capitals"],
        "",
        "--no-capitals is deprecated and goes in 0.3; it is now --no-upper",
    ),
    "variable": ([], "DYN_OLD_NAME", "DYN_OLD_NAME is deprecated and goes in 0.3; it is now DYN_NEW_NAME"),
    "key": (["-f", "{file}"], "", "{file}:1: old-name is deprecated and goes in 0.3; it is now new-name"),
    "both with one value": (
        ["--old-name=a", "--new-name=a"],
        "",
        "--old-name is deprecated and goes in 0.3; it is now --new-name",
    ),
}


@pytest.mark.parametrize(("argv", "variable", "warning"), WARNINGS.values(), ids=list(WARNINGS))
def test_a_deprecated_name(
    argv: list[str], variable: str, warning: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("old-name: a\n")
    if variable:
        monkeypatch.setenv(variable, "a")
    words = [word.replace("{file}", str(file)) for word in argv]
    assert DynamoFlexibleArgumentParser(JobSettings).resolve(words).warnings == [
        warning.replace("{file}", str(file))
    ]
