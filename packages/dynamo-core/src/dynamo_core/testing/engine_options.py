"""The checks that every option of an engine works through a component's parser.

A package names its engine and its component's parser:

    class TestOptions(EngineOptionChecks):
        options = OptionsUnderTest(MY_ENGINE, parser, samples={"cache_config": {"size": 7}})

The options, values for them and misspellings of them come from the engine's own parser, so that an
engine's new option is checked without a new line here. What is right is what that parser makes of the
same words with none of our code in between. It is built when the tests are collected, once.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

from dynamo_core.args import Arguments, DynamoFlexibleArgumentParser, Engine
from dynamo_core.args.engine import is_secret
from dynamo_core.args.engine_parser import EngineParser
from dynamo_core.args.engine_words import is_switch, key_of
from dynamo_core.args.settings import Declaration
from dynamo_core.args.show import dump, engine_rows
from dynamo_core.errors import UserError

REQUIRED = ("--model", "some/model")
TEXT = "a=b, c: d e"
"""It needs quotes in a file, and resembles a flag with its value and a list."""
VALUES = ({"a": [1, {"b": True}]}, ["a", "b"], 0.25, 7, -3, TEXT, "f")
"""What an option may take, in the types of a file."""
AWKWARD = ("-x", "--model", "", "true", "null", "7", "1e3", "#a", "${", "a\nb", {"a": True}, [1, "b"], 8, 0.5)
"""What an option that takes any text is given."""
MOST_SAMPLES = 4
_NOTHING: Any = object()


@dataclass(frozen=True)
class Sample:
    """A value other than the default: as words, and as a key of a file."""

    words: tuple[str, ...]
    key: str
    value: Any


@dataclass(frozen=True)
class Option:
    """One of the user's options, with at least one sample."""

    action: argparse.Action
    samples: tuple[Sample, ...]

    @property
    def key(self) -> str:
        return key_of(self.action)

    @property
    def names(self) -> list[str]:
        """Its flags, without `--no-` forms."""
        return [flag for flag in self.action.option_strings if not flag.startswith("--no-")]

    @property
    def takes_any_text(self) -> bool:
        return self.action.nargs is None and self.samples[0].value == TEXT

    def spellings(self) -> Iterator[tuple[str, ...]]:
        """Every sample as words; the first also with every other flag, and joined by `=`."""
        yield from (sample.words for sample in self.samples)
        flag, *values = self.samples[0].words
        for name in self.names if flag in self.names else ():
            yield (name, *values)
            if len(values) == 1:
                yield (f"{name}={values[0]}",)

    def entries(self) -> Iterator[Sample]:
        """Every sample as it stands in a file; the first also under every other name."""
        yield from self.samples
        keys = [name.removeprefix("--") for name in self.names]
        keys += [key.replace("-", "_") for key in keys if not key.startswith("-")]
        yield from (replace(self.samples[0], key=key) for key in keys)


class OptionsUnderTest:
    """An engine's options through a component's parser, and through the engine's own alone."""

    def __init__(
        self,
        engine: Engine,
        parser: Callable[[], DynamoFlexibleArgumentParser[Any]],
        *,
        samples: Mapping[str, Any] | None = None,
    ) -> None:
        """`samples` has a value, by `dest`, for each option that takes none of `VALUES`."""
        self.engine = engine
        self.parser = parser
        self.samples = samples or {}

    @cached_property
    def alone(self) -> argparse.ArgumentParser:
        """The engine's parser as the engine builds it."""
        return self.engine.build_parser()

    @cached_property
    def reader(self) -> EngineParser:
        """The engine's parser as our code uses it."""
        return EngineParser(self.engine, self.parser().keys)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        return self.engines()

    @cached_property
    def options(self) -> dict[str, Option]:
        """The user's options by key. Raises `LookupError` with those that no sample is known for."""
        found = {key_of(action): Option(action, self._samples(action)) for action in self.reader.actions}
        if without := [option.action.dest for option in found.values() if not option.samples]:
            raise LookupError(f"no value is known for {', '.join(without)}; give samples")
        return found

    @property
    def rounds(self) -> list[list[Sample]]:
        """One sample of every option in each, and all samples in all of them."""
        turns = range(MOST_SAMPLES)
        return [[o.samples[turn % len(o.samples)] for o in self.options.values()] for turn in turns]

    def resolve(self, *argv: str) -> Arguments[Any]:
        """A command line by our parser, with what is required."""
        with self.without_variables():
            return self.parser().resolve([*REQUIRED, *argv])

    def engines(self, *words: str, beside: Arguments[Any] | None = None) -> dict[str, Any]:
        """What the engine makes of words, and of what our settings hand to it."""
        forwarded = self._forwarded(beside) if beside else self._default_words
        return vars(self.alone.parse_args([*forwarded, *words]))

    def ours(self, *argv: str) -> dict[str, Any]:
        """What comes out of our parser, as `EngineOptions.namespace` with a parser that is there already."""
        arguments = self.resolve(*argv)
        values, problems = arguments.engine.read(self.reader)
        if problems:
            raise AssertionError("\n".join(problems))
        words = [word for value in values for word in value.words]
        return vars(self.reader.parse([*self._forwarded(arguments), *words]))

    def problem(self, *argv: str) -> str:
        """The one problem with a command line."""
        problems = self.resolve(*argv).engine.read(self.reader)[1]
        assert len(problems) == 1, f"expected one problem with {argv}, found {problems}"
        return problems[0]

    @contextlib.contextmanager
    def without_variables(self) -> Iterator[None]:
        """No setting comes from the environment of whoever runs the tests."""
        with pytest.MonkeyPatch.context() as patch:
            for declared in self.parser().declared.values():
                for name in declared.names:
                    patch.delenv(name.env, raising=False)
            yield

    @cached_property
    def _default_words(self) -> list[str]:
        return self._forwarded(self.resolve())

    def _forwarded(self, arguments: Arguments[Any]) -> list[str]:
        """The shared settings as the engine's flags."""
        return arguments.engine.forwarded(self.reader)

    def _samples(self, action: argparse.Action) -> tuple[Sample, ...]:
        """The possible samples that the engine takes and that are not the default.

        Where it understands some as what stands in a file, an integer as that integer, only those:
        an option for text takes a number too, but it shows less.
        """
        default = self.defaults.get(action.dest, _NOTHING)
        taken: list[Sample] = []
        understood: list[Sample] = []
        for sample in _possible_samples(action, self.samples.get(action.dest, _NOTHING)):
            value = self._parsed(action, sample)
            if value is _NOTHING or (value == default and not _has_one_value(action)):
                continue
            taken.append(sample)
            if value in (sample.value, [sample.value]) or isinstance(sample.value, bool):
                understood.append(sample)
        return tuple((understood or taken)[:MOST_SAMPLES])

    def _parsed(self, action: argparse.Action, sample: Sample) -> Any:
        """By the reader's parser: alone, the engine's would print its usage for each of many refusals."""
        try:
            return vars(self.reader.parse(sample.words))[action.dest]
        except (UserError, AssertionError):
            return _NOTHING


class EngineOptionChecks:
    """Subclass it as `class TestMyOptions(EngineOptionChecks)`."""

    options: OptionsUnderTest

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "option" in metafunc.fixturenames:
            options = self.options.options
            metafunc.parametrize("option", options.values(), ids=options.keys())

    def test_every_option_is_the_users_or_shared_or_kept(self) -> None:
        engine, flags = self.options.engine, self.options.alone._option_string_actions
        users = {option.action.dest for option in self.options.options.values()}
        named = [*(f"--{key}" for key in engine.shared), *engine.shared.values(), *engine.kept]
        others = {flags[flag].dest for flag in named if flag in flags}
        assert not users & others, users & others
        assert users | others == {action.dest for action in self.options.alone._actions}

    def test_as_words(self, option: Option) -> None:
        dest = option.action.dest
        for words in option.spellings():
            expected = self.options.engines(*words)
            if _has_one_value(option.action):
                values, _ = self.options.resolve(*words).engine.read(self.options.reader)
                assert [value.key for value in values] == [option.key], words
            else:
                assert expected[dest] != self.options.defaults.get(dest, _NOTHING), words
            assert_same(self.options.ours(*words), expected, words)

    def test_as_a_key_of_a_file(self, option: Option, tmp_path: Path) -> None:
        for entry in option.entries():
            file = write(tmp_path, {entry.key: entry.value})
            assert_same(self.options.ours("-f", file), self.options.engines(*entry.words), entry)

    def test_a_flag_wins_over_a_file(self, option: Option, tmp_path: Path) -> None:
        """A switch that has a negative form is turned back by it."""
        first, last = option.samples[0], option.samples[-1]
        file = write(tmp_path, {first.key: first.value})
        flags = [f"--{option.key}", f"--no-{option.key}"]
        for words in [[flag] for flag in flags] if flags[1] in option.action.option_strings else [last.words]:
            values, _ = self.options.resolve("-f", file, *words).engine.read(self.options.reader)
            assert [value.origin.kind for value in values] == ["flag"], words
            assert_same(self.options.ours("-f", file, *words), self.options.engines(*words), words)

    def test_misspelt_as_a_flag(self, option: Option) -> None:
        words, _ = self._misspelt(option)
        for word in words:
            problem = self.options.problem(f"--{word}", *option.samples[0].words[1:])
            assert problem.startswith(f"unknown flag '--{word}'"), problem
            assert f"--{option.key}" in suggestions(problem), problem

    def test_misspelt_as_a_key_of_a_file(self, option: Option, tmp_path: Path) -> None:
        _, word = self._misspelt(option)
        file = write(tmp_path, {word: option.samples[0].value})
        problem = self.options.problem("-f", file)
        assert problem.startswith(f"{file}:1: unknown key {word!r}"), problem
        assert option.key in suggestions(problem), problem

    def _misspelt(self, option: Option) -> tuple[list[str], str]:
        """All misspellings but one, and that one; each kind takes its turn."""
        words = misspellings(option.key, self.options.reader.known)
        return words, words.pop(len(option.key) % len(words))

    def test_all_options_at_once(self, tmp_path: Path) -> None:
        """The whole way, from the command line, a file, and a file's section for every component."""
        for samples in self.options.rounds:
            words = _words(samples)
            expected = self.options.engines(*words)
            tree = {sample.key: sample.value for sample in samples}
            files = [write(tmp_path, tree), write(tmp_path, {"Common": tree})]
            for argv in (words, *(["-f", file] for file in files)):
                assert_same(vars(self.options.resolve(*argv).engine.namespace()), expected, argv)

    def test_a_dumped_file_gives_the_same_again(self, tmp_path: Path) -> None:
        """With the secrets given again, which it leaves out."""
        secrets = {option.key for option in self.options.options.values() if is_secret(option.key)}
        for samples in self.options.rounds:
            arguments = self.options.resolve(*_words(samples))
            text = dump(arguments, engine_rows(arguments.engine)[0])
            file = tmp_path / "dumped.yaml"
            file.write_text(text, encoding="utf-8")
            assert not secrets & yaml.safe_load(text).keys()
            again = self.options.resolve("-f", str(file), *_words(_secret(samples)))
            assert again.settings == arguments.settings
            assert_same(vars(again.engine.namespace()), self.options.engines(*_words(samples)), text)

    def test_the_words_of_a_file_give_the_same_again(self, tmp_path: Path) -> None:
        """The engine's options beside every setting of ours, which `words` tells without secrets."""
        parser = self.options.parser()
        own = self._own_values()
        secrets = [f"--{d.key}={own[d.key]}" for d in parser.declared.values() if d.secret]
        for samples in self.options.rounds:
            file = write(tmp_path, own | {sample.key: sample.value for sample in samples})
            arguments = self.options.resolve("-f", file)
            words = parser.words(arguments, arguments.engine.values()[0])
            again = self.options.resolve(*words, *secrets, *_words(_secret(samples)))
            assert again.settings == arguments.settings
            expected = self.options.engines(*_words(samples), beside=arguments)
            assert_same(vars(arguments.engine.namespace()), expected, "file")
            assert_same(vars(again.engine.namespace()), expected, words)

    def test_shared_settings_reach_the_engine(self, tmp_path: Path) -> None:
        own, flags = self._own_values(), self.options.alone._option_string_actions
        found = self.options.ours("-f", write(tmp_path, own))
        for key, flag in self.options.engine.shared.items():
            dest = flags[flag or f"--{key}"].dest
            if flag:
                assert found[dest] in (own[key], [own[key]]), f"{flag} is {found[dest]!r}"
            else:
                assert_same({dest: found.get(dest)}, {dest: self.options.defaults.get(dest)}, key)

    def test_what_is_not_the_users_is_refused(self) -> None:
        engine, flags = self.options.engine, self.options.alone._option_string_actions
        ours = {f"--{no}{key}" for key in self.options.parser().keys for no in ("", "no-")}
        for key, flag in engine.shared.items():
            for name in flags[flag].option_strings if flag else ():
                if name not in ours:
                    problem = self.options.problem(name, "7")
                    assert problem.endswith(f"{engine.name}'s {flag} is set by --{key}; give that"), problem
        for flag, why in engine.kept.items():
            assert self.options.problem(flag).endswith(f"cannot be given: {why}")

    def test_every_name_that_both_know_is_declared(self) -> None:
        engine, flags = self.options.engine, self.options.alone._option_string_actions
        keys = self.options.parser().keys
        both = {key for key in keys if f"--{key}" in flags}
        assert both <= engine.shared.keys()
        assert not {"-f", "-h"} & flags.keys()
        for key in both:
            shared = {name: flag for name, flag in engine.shared.items() if name != key}
            with pytest.raises(
                TypeError, match=f"{engine.name} has options of the same names as ours: {key};"
            ):
                EngineParser(replace(engine, shared=shared), keys)

    def test_a_secret_is_never_told(self) -> None:
        for option in self.options.options.values():
            if is_secret(option.key):
                problem = self.options.problem(f"--{option.key}=hush1", f"--{option.key}=hush2")
                assert "hush" not in problem, problem

    @pytest.mark.parametrize("value", AWKWARD, ids=repr)
    def test_any_text_for_all_that_take_it(self, value: Any, tmp_path: Path) -> None:
        """A mapping or a list in a file is JSON to an option that takes text."""
        keys = [option.key for option in self.options.options.values() if option.takes_any_text]
        words = [f"--{key}={as_word(value)}" for key in keys]
        expected = self.options.engines(*words)
        assert_same(self.options.ours(*words), expected, words)
        file = write(tmp_path, dict.fromkeys(keys, value))
        assert_same(self.options.ours("-f", file), expected, value)

    def _own_values(self) -> dict[str, Any]:
        """A value other than the default for every setting of ours."""
        return {declared.key: _other_value(declared) for declared in self.options.parser().declared.values()}


def assert_same(ours: Mapping[str, Any], engines: Mapping[str, Any], given: object) -> None:
    """Fail with what differs, and only that."""
    names = {n for n in ours.keys() | engines.keys() if ours.get(n, _NOTHING) != engines.get(n, _NOTHING)}
    lines = [f"{name}: ours {ours.get(name)!r}, the engine's {engines.get(name)!r}" for name in sorted(names)]
    assert not lines, "\n".join([*lines, f"given {str(given)[:2000]}"])


def misspellings(name: str, known: Collection[str]) -> list[str]:
    """A name with a character left out, doubled or replaced, or two swapped: one of each that is no name.

    The place follows from the name, so that it is the same in every run and another for every name.
    """
    start = zlib.crc32(name.encode()) % len(name)
    places = [*range(start, len(name)), *range(start)]
    slips: tuple[Callable[[int], str], ...] = (
        lambda i: name[:i] + name[i + 1 :],
        lambda i: name[:i] + name[i] + name[i:],
        lambda i: name[:i] + ("x" if name[i] != "x" else "s") + name[i + 1 :],
        lambda i: name[:i] + name[i + 1 : i + 2] + name[i] + name[i + 2 :],
    )
    names = {flag.removeprefix("--") for flag in known} | {name}
    found = [next((w for w in map(slip, places) if w not in names), name) for slip in slips]
    return [word for word in found if word != name]


def suggestions(problem: str) -> list[str]:
    """The names in `did you mean …?`"""
    return problem.rpartition("did you mean ")[2].rstrip("?").split(", ")


def as_word(value: Any) -> str:
    """A value of a file as a person would type it."""
    return value if isinstance(value, str) else json.dumps(value)


def write(folder: Path, tree: Mapping[str, Any]) -> str:
    """Write a file for `-f`, and return its path."""
    file = folder / f"{len(list(folder.iterdir()))}.yaml"
    file.write_text(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return str(file)


def _secret(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if is_secret(sample.key)]


def _words(samples: Sequence[Sample]) -> list[str]:
    return [word for sample in samples for word in sample.words]


def _possible_samples(action: argparse.Action, given: Any) -> Iterator[Sample]:
    """What may be valid, best first; `given` replaces what would be guessed."""
    key = key_of(action)
    flag = key if key.startswith("-") else f"--{key}"
    if is_switch(action):
        yield Sample((flag,), key, True)
        if f"--no-{key}" in action.option_strings:
            yield Sample((flag,), f"no-{key}", False)
            yield Sample((f"--no-{key}",), key, False)
            yield Sample((f"--no-{key}",), f"no-{key}", True)
        return
    several = action.nargs in ("+", "*")
    if given is not _NOTHING:
        yield Sample((flag, *map(as_word, given if several else [given])), key, given)
        return
    values = _possible_values(action)
    for pair in itertools.permutations(values, 2) if several else ():
        yield Sample((flag, *map(as_word, pair)), key, list(pair))
    for value in values:
        if not (several and isinstance(value, list)):
            yield Sample((flag, as_word(value)), key, value)
    if action.nargs == "?":
        yield Sample((flag,), key, True)


def _possible_values(action: argparse.Action) -> Sequence[Any]:
    if action.choices:
        return [choice for choice in action.choices if choice is not None][:MOST_SAMPLES]
    if dataclasses.is_dataclass(action.default):
        fields = {f.name: getattr(action.default, f.name) for f in dataclasses.fields(action.default)}
        return [{name: value + 1} for name, value in fields.items() if type(value) is int] + [
            {name: not value} for name, value in fields.items() if type(value) is bool
        ]
    return VALUES


def _has_one_value(action: argparse.Action) -> bool:
    """Whether nothing but the default is valid."""
    return action.choices is not None and list(action.choices) == [action.default]


def _other_value(declared: Declaration) -> Any:
    if declared.key == REQUIRED[0].removeprefix("--"):
        return REQUIRED[1]
    if declared.is_switch:
        return not declared.default
    if declared.choices:
        return next(choice for choice in declared.choices if choice != declared.default)
    if declared.name == "gpus":
        return "7"
    return 7 if {"int", "float"} & set(declared.type_names) else "other"
