"""A small stage command made of the shared parts, and a program that holds it.

What the command does to an input depends on the name of the file: see `work`.
"""

import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import click
from click.testing import CliRunner

from skytool.cli import options
from skytool.cli.config import RunOption, StageCommand, settings_of
from skytool.cli.main import LateGroup, Program, cli
from skytool.cli.stage_files import Product, Unit, run_units
from skytool.errors import AlgorithmError, IncompatibleError, InputError, NothingToDoError
from skytool.errors import SkytoolWarning as ToyWarning

ROOT = Path(__file__).parents[2]
log = logging.getLogger("skytool.toy")


@dataclass(frozen=True)
class Task:
    source: str
    output: Path
    text: str


@click.command("count", cls=StageCommand)
@options.input_files
@options.one_or_dir_output
@click.option("--bin-size", type=click.IntRange(min=1), default=256, help="Bin side [pixel].")
@click.option("--clip", type=float, default=3.5, help="Clipping limit [sigma].")
@click.option("--bad-planes", type=options.PLANES, default="BAD,NO_DATA", help="Planes to skip.")
@click.option("--center", type=options.SKY_POSITION, help="Centre.")
@click.option("--size", type=options.GRID_SIZE, default="10m,400", help="Size.")
@click.option("--pixel-scale", type=options.Angle("arcsec"), default=0.2, help="Scale [arcsec].")
@click.option("--rescale/--no-rescale", default=True, help="Rescale the variance.")
@click.option("--title", default='a "title" \\ of\nmine', show_default=False, help="Text.")
@click.option("--range", "limits", type=float, nargs=2, help="Two limits [sigma].")
@click.option("--table", type=options.INPUT, multiple=True, help="Table; may be repeated.")
@click.option("--side", cls=RunOption, help="A side product.")
@options.common_options
@click.pass_context
def count(ctx, inputs, destination, run, **settings):
    """Count the bytes of each input."""
    outputs = destination.paths(inputs)
    for source in inputs:
        if "early" in source:
            warnings.warn(f"{source} looks odd", ToyWarning, stacklevel=1)
    text = "".join(f"{name} = {value}\t{source}\n" for name, value, source in settings_of(ctx))
    units = [
        Unit(
            name=source,
            inputs=() if "odd-header" in source else (source,),
            outputs=() if "odd-header" in source else (output,),
            task=Task(source, output, text),
            error=InputError(f"{source} has no header.") if "odd-header" in source else None,
        )
        for source, output in zip(inputs, outputs, strict=True)
    ]
    run_units(
        work,
        units,
        stage="count",
        columns=["bytes", "unknown"],
        run=run,
        shared=settings["table"],
        is_current=lambda unit: unit.outputs[0].read_text() == text,
    )


def work(task):
    """Do what the name of the input says, and write the settings."""
    name = Path(task.source).name
    log.debug("looking at %s", name)
    if "warn" in name:
        warnings.warn(f"{name} is odd", ToyWarning, stacklevel=1)
        warnings.warn(f"{name} is odd", ToyWarning, stacklevel=1)
    if "foreign" in name:
        warnings.warn("numbers\nare odd", RuntimeWarning, stacklevel=1)
    if "bad" in name:
        raise IncompatibleError(f"{name} does not fit.", hint="Take another.", limit=2.5)
    if "empty" in name:
        raise NothingToDoError(f"{name} does not overlap.")
    if "missing" in name:
        raise InputError(f"{name}: no such file.")
    if "few" in name:
        raise AlgorithmError(f"{name} has too few stars.")
    if "bug" in name:
        raise ValueError("shapes differ")
    if "disk" in name:
        raise OSError(28, "No space left on device", name)
    if "memory" in name:
        raise MemoryError("Unable to allocate 3 GiB")
    if "pipe" in name:
        raise BrokenPipeError
    if "sleep" in name:
        sleep_with_part(task.output)
    if "interrupt" in name:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    task.output.parent.mkdir(exist_ok=True)
    task.output.write_text(task.text)
    size = Path(task.source).stat().st_size
    return [Product(path=str(task.output), metrics={"bytes": size, "unknown": float("nan")})]


def sleep_with_part(output):
    """Be in the middle of writing for a minute."""
    part = output.with_name(f"part.{output.name}")
    try:
        part.write_text("half")
        time.sleep(60)
    finally:
        part.unlink()


@click.command("show-reading", cls=StageCommand)
@options.input_files
@options.reading_options
def show_reading(inputs, reading):
    """Print how inputs are read."""
    click.echo(repr(reading))


COMMANDS = {
    "count": ("tests.cli.toy:count", "Count bytes."),
    "sky": ("tests.cli.toy:sky", "Group of commands."),
    "show-reading": ("tests.cli.toy:show_reading", "Print how inputs are read."),
    "warp": ("tests.cli.no_such_module:warp", "A command whose module is never imported."),
}

sky = LateGroup("sky", late={"build": ("tests.cli.toy:count", "Build.")}, help="Group.")
program = Program(
    "skytool",
    late=COMMANDS,
    context_settings=cli.context_settings,
    params=list(cli.params[:1]),
    callback=cli.callback,
)


def run(*args, **kwargs):
    """Run the toy program in this process."""
    return CliRunner().invoke(program, [str(arg) for arg in args], **kwargs)


def start(*args, folder, **kwargs):
    """Start the toy program as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cli.toy", *map(str, args)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **kwargs.pop("env", {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **kwargs,
    )


def wait_for(condition, seconds=20):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


if __name__ == "__main__":
    program()
