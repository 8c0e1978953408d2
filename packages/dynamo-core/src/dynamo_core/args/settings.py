"""How a setting is declared: once, as a field of a `Settings` class.

    class HttpSettings(Settings):
        "HTTP server"

        http_port: int = setting(8000, "Port of the OpenAI API.", ge=0, le=65535)

From that follow the flag `--http-port`, the variable `DYN_HTTP_PORT`, the file key `http-port` and
the line in `--help`. A component combines the groups it needs by inheritance:

    class FrontendSettings(HttpSettings, RuntimeSettings):
        "The settings of dynamo-frontend"

Instances are frozen: they are made once, in `main`, and passed down.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Union

from pydantic import Field
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict


def setting(
    default: Any = ...,
    help: str = "",
    *,
    env: str = "",
    metavar: str = "",
    secret: bool = False,
    formerly: Mapping[str, str] | None = None,
    **constraints: Any,
) -> Any:
    """Declare a setting.

    `default` may be left out for one that must be given. `env` names the variable where it is not
    `DYN_` and the setting's name: the Rust runtime's own names are used for what it shares with us.
    `formerly` has the setting's deprecated names, each with the release that removes it; until then
    they work, with a warning. `constraints` go to pydantic (`ge`, `le`, `min_length`, …).
    """
    extra: dict[str, Any] = {"env": env, "metavar": metavar, "secret": secret, "formerly": formerly or {}}
    return Field(default, description=help, json_schema_extra=extra, **constraints)


class Settings(BaseSettings):
    """Base of every group of settings."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The parser has already weighed the sources; nothing else may slip in a value."""
        return (init_settings,)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        owners: dict[str, type] = {}
        for group in reversed(cls.__mro__):
            for name in vars(group).get("__annotations__", {}):
                if name == "model_config" or not issubclass(group, Settings):
                    continue
                if name in owners:
                    raise TypeError(
                        f"setting {name!r} is declared by {owners[name].__qualname__} "
                        f"and by {group.__qualname__}; a setting is declared once"
                    )
                owners[name] = group


@dataclass(frozen=True)
class Name:
    """One name of a setting, in the form of each source."""

    name: str
    env: str
    removed_in: str = ""
    """The release without this name, if it is deprecated."""

    @property
    def flag(self) -> str:
        return "--" + self.key

    @property
    def negated_flag(self) -> str:
        return "--no-" + self.key

    @property
    def key(self) -> str:
        """The name in a file; the same word as the flag."""
        return self.name.replace("_", "-")


@dataclass(frozen=True)
class Declaration(Name):
    """Everything that follows from one declared setting."""

    group: str = ""
    help: str = ""
    annotation: Any = str
    default: Any = None
    required: bool = False
    metavar: str = ""
    secret: bool = False
    former: tuple[Name, ...] = ()
    """Deprecated names, which still work."""
    limits: tuple[str, ...] = ()
    """The constraints in words: `at least 0`."""

    @property
    def names(self) -> tuple[Name, ...]:
        """The name and the deprecated ones."""
        return (self, *self.former)

    def renamed(self, name: Name, found: str, now: str) -> str:
        """What to say where a deprecated name was found."""
        return f"{found} is deprecated and goes in {name.removed_in}; it is now {now}"

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(str(c) for t in _alternatives(self.annotation) for c in _literals(t))

    @property
    def type_names(self) -> tuple[str, ...]:
        """`str`, `int`, `float`, `bool` or `Path`, without None."""
        return tuple(t.__name__ for t in _alternatives(self.annotation) if isinstance(t, type))

    @property
    def is_switch(self) -> bool:
        return self.annotation is bool


def declarations(settings: type[Settings]) -> dict[str, Declaration]:
    """Every setting of a class by name, in the order of its groups."""
    found: dict[str, Declaration] = {}
    for group in settings.__mro__:
        for name in vars(group).get("__annotations__", {}):
            if name in settings.model_fields and name not in found:
                found[name] = _declaration(name, group, settings.model_fields[name])
    return found


def _declaration(name: str, group: type, field: FieldInfo) -> Declaration:
    extra = field.json_schema_extra
    details: dict[str, Any] = extra if isinstance(extra, dict) else {}
    declared = Declaration(
        name=name,
        group=(group.__doc__ or group.__name__).strip().splitlines()[0],
        help=field.description or "",
        annotation=field.annotation,
        default=None if field.is_required() else field.default,
        required=field.is_required(),
        env=str(details.get("env") or variable_of(name)),
        secret=bool(details.get("secret")),
        limits=tuple(_WORDS[kind].format(limit) for kind, limit in _limits(field)),
        former=tuple(
            Name(old, variable_of(old), until) for old, until in (details.get("formerly") or {}).items()
        ),
    )
    metavar = details.get("metavar") or "|".join(declared.choices) or name.upper().split("_")[-1]
    return replace(declared, metavar=metavar)


_WORDS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}
_WORDS["min_length"] = "not empty"


def _limits(field: FieldInfo) -> list[tuple[str, Any]]:
    """The constraints of a field, as pydantic keeps them."""
    found = ((kind, getattr(item, kind, None)) for item in field.metadata for kind in _WORDS)
    return [(kind, limit) for kind, limit in found if limit is not None]


def variable_of(name: str) -> str:
    """The environment variable of a setting that has no other."""
    return f"DYN_{name.upper()}"


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return tuple(a for a in typing.get_args(annotation) if a is not type(None))
    return (annotation,)


def _literals(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()
