"""Settings: TOML files and shipped presets in, ``--print-config`` and the CONFIG table out."""

from __future__ import annotations

import copy
import json
import os
import tomllib
import warnings
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from skytool.cli import logs
from skytool.cli.param_types import InputFile
from skytool.cli.sections import RUNNING, SectionOption, with_short_metavars, write_options
from skytool.errors import SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PRESETS = Path(__file__).with_name("presets")
_STATE = "skytool.config"
_SOURCES = {
    ParameterSource.COMMANDLINE: "command line",
    ParameterSource.ENVIRONMENT: "environment",
}


class Setting(NamedTuple):
    """One setting in force.

    Parameters
    ----------
    name : str
        Name of the option without its dashes.
    value : str
        The value as TOML; empty if the option is not set.
    source : str
        ``default``, ``config <file or preset>``, ``environment`` or ``command line``.
    """

    name: str
    value: str
    source: str


class RunOption(SectionOption):
    """An option that says how to run or where to write, not what to compute.

    It is left out of the CONFIG table. With ``bare`` it may be given with ``=VALUE`` or alone,
    which stands for that value; it never takes the next argument.
    """

    def __init__(self, *args: Any, bare: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bare = bare


class OutputOption(RunOption):
    """An option that names an output, which ``--print-config`` leaves out."""


@dataclass
class _Loaded:
    """What the settings files of a run said."""

    files: list[Path] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    printing: bool = False


def _state(ctx: click.Context) -> _Loaded:
    state: _Loaded = ctx.meta.setdefault(_STATE, _Loaded())
    return state


class ConfigFile(click.ParamType[Path]):
    """The path of a settings file, or the bare name of a shipped preset."""

    name = "config"
    envvar_list_splitter = os.pathsep

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path of the file."""
        if isinstance(value, Path):
            return value
        text = str(value)
        if not ({"/", ".", os.sep} & set(text)):
            presets = sorted(path.stem for path in PRESETS.glob("*.toml"))
            if text not in presets:
                self.fail(
                    f"no preset {text!r}; there are: {', '.join(presets)}. "
                    f"A file of that name is ./{text}.",
                    param,
                    ctx,
                )
            return PRESETS / f"{text}.toml"
        path = Path(text)
        if path.is_dir() or not path.exists():
            self.fail(f"{text}: no such file.", param, ctx)
        return path


def _load(ctx: click.Context, param: click.Parameter, paths: Sequence[Path]) -> None:
    """Make the command's table of every file the defaults; the later file wins."""
    if ctx.resilient_parsing:
        return
    state = _state(ctx)
    defaults = dict(ctx.default_map or {})
    keys = option_keys(ctx.command)
    for path in paths:
        label = path.stem if path.parent == PRESETS else path.name
        for key, value in _table(ctx, param, path).items():
            if key not in keys:
                problem = f"{path}: no option {key!r}."
                raise click.BadParameter(problem + _nearest(key, keys), ctx, param)
            option = keys[key]
            name = str(option.name)
            typed = _as_typed(ctx, param, option, f"{path}: {key}", value)
            if typed is None:
                defaults.pop(name, None)
            else:
                defaults[name] = typed
            state.labels[name] = f"config {label}"
        state.files.append(path)
    ctx.default_map = defaults


def _table(ctx: click.Context, param: click.Parameter, path: Path) -> dict[str, Any]:
    """Return the table of the command; tables must have the names of commands."""
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path}: {error}.", ctx, param) from error
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}.", ctx, param) from error
    chain = [ctx]
    while chain[0].parent is not None:
        chain.insert(0, chain[0].parent)
    for outer, inner in pairwise(chain):
        if isinstance(outer.command, click.Group) and path.parent != PRESETS:
            known = outer.command.list_commands(outer)
            for key, value in table.items():
                if key not in known or not isinstance(value, dict):
                    problem = f"{path}: no command {key!r}."
                    raise click.BadParameter(problem + _nearest(key, known), ctx, param)
        table = table.get(str(inner.info_name), {})
    return table


def _nearest(key: str, known: Iterable[str]) -> str:
    close = get_close_matches(key.replace("_", "-"), list(known), 1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _as_typed(
    ctx: click.Context, param: click.Parameter, option: click.Option, where: str, value: Any
) -> Any:
    """Return a TOML value as the text one would type, so that one parser judges both."""

    def refuse(wanted: str) -> click.BadParameter:
        return click.BadParameter(f"{where} must be {wanted}, not {value!r}.", ctx, param)

    if isinstance(option, RunOption) and option.bare is not None and isinstance(value, bool):
        return option.bare if value else None
    if option.is_flag:
        if not isinstance(value, bool):
            raise refuse("true or false")
        return value
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, bool) or not isinstance(item, str | int | float) for item in items):
        raise refuse("text or a number")
    texts = [item if isinstance(item, str) else str(item) for item in items]
    if option.multiple or option.nargs != 1:
        return texts
    if isinstance(value, list):
        if not getattr(option.type, "is_list", False):
            raise refuse("one value")
        return ",".join(texts)
    return texts[0]


def option_keys(command: click.Command) -> dict[str, click.Option]:
    """Return the options a settings file may set, by their long name without dashes."""
    keys = {}
    for option in command.params:
        if isinstance(option, click.Option) and option.expose_value:
            name = next((text for text in option.opts if text.startswith("--")), None)
            if name and option.name != "print_config":
                keys[name.removeprefix("--")] = option
    return keys


def settings_of(ctx: click.Context) -> list[Setting]:
    """Return every setting that may change what is computed, in the order of the help.

    Files (options of type `InputFile` or `click.Path`) are named without their folders, so that
    outputs do not depend on where a run was made.
    """
    return [
        _setting(ctx, key, option, folders=False)
        for key, option in option_keys(ctx.command).items()
        if not isinstance(option, RunOption)
    ]


def config_files(ctx: click.Context) -> list[Path]:
    """Return the settings files that were read, presets included."""
    return list(_state(ctx).files)


def _setting(
    ctx: click.Context, key: str, option: click.Option, *, folders: bool = True
) -> Setting:
    name = str(option.name)
    source = ctx.get_parameter_source(name)
    label = _SOURCES.get(source, "default") if source is not None else "default"
    if source is ParameterSource.DEFAULT_MAP:
        label = _state(ctx).labels.get(name, "default")
    value = ctx.params.get(name)
    if not folders and isinstance(option.type, InputFile | click.Path):
        value = _without_folders(value)
    unset = value is None or (option.multiple and not value)
    return Setting(key, "" if unset else toml_value(value), label)


def _without_folders(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_without_folders(item) for item in value)
    return value if value is None else str(value).rpartition("/")[2]


def toml_value(value: Any) -> str:
    """Return a value as TOML: a truth value, number, text, or array of these."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


class StageCommand(click.Command):
    """A command with ``--config``, ``--print-config``, ``-v``, ``-q`` and ``--log-file``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            SectionOption(
                ["--config"],
                section=RUNNING,
                type=ConfigFile(),
                multiple=True,
                is_eager=True,
                expose_value=False,
                callback=_load,
                envvar="SKYTOOL_CONFIG",
                metavar="FILE|PRESET",
                help="Take settings from a TOML file, a table per command, or from a shipped "
                "preset such as lsst. May be repeated; the later one wins.",
            ),
            SectionOption(
                ["--print-config"],
                section=RUNNING,
                is_flag=True,
                help="Print the settings in force as TOML, with their sources, and exit.",
            ),
            *logs.verbosity_options(),
        ]
        with_short_metavars(self.params)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those that many commands have in sections of their own."""
        write_options(self.get_params(ctx), ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; an option with a bare form gets its value, and printing requires no input."""
        bare = {
            text: option.bare
            for option in self.params
            if isinstance(option, RunOption) and option.bare is not None
            for text in option.opts
        }
        end = args.index("--") if "--" in args else len(args)
        given = [f"{text}={bare[text]}" if text in bare else text for text in args[:end]]
        if not ctx.resilient_parsing:
            self._look_for_typos(ctx)
        _state(ctx).printing = "--print-config" in given
        return super().parse_args(ctx, given + args[end:])

    def _look_for_typos(self, ctx: click.Context) -> None:
        """Warn of variables of the environment that look like options of ours and are none."""
        prefix = f"{ctx.auto_envvar_prefix}_"
        known = {f"{prefix}{param.name}".upper() for param in self.params}
        for name in sorted(os.environ):
            if ctx.auto_envvar_prefix and name.startswith(prefix) and name not in known:
                close = get_close_matches(name, sorted(known), 1)
                guess = f" Did you mean {close[0]}?" if close else ""
                message = f"the variable {name} of the environment names no option.{guess}"
                warnings.warn(message, SkytoolWarning, stacklevel=2)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters, none of them required when the settings are only printed."""
        params = super().get_params(ctx)
        if not _state(ctx).printing:
            return params
        relaxed = [copy.copy(param) for param in params]
        for param in relaxed:
            param.required = False
        return relaxed

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, or print its settings."""
        if not ctx.params.pop("print_config", False):
            return super().invoke(ctx)
        names: list[str] = []
        outer: click.Context | None = ctx
        while outer is not None and outer.parent is not None:
            names.insert(0, str(outer.info_name))
            outer = outer.parent
        click.echo(f"[{'.'.join(names)}]")
        for key, option in option_keys(self).items():
            if isinstance(option, OutputOption):
                continue
            setting = _setting(ctx, key, option)
            if setting.value:
                click.echo(f"{key} = {setting.value}  # {setting.source}")
            else:
                click.echo(f"# {key} is not set")
        return None
