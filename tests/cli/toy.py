"""A small stage command made of the shared parts, and a program that holds it."""

import logging
import os
import signal
import time
import warnings
from pathlib import Path

import click

from skytool.cli import options
from skytool.cli.config import StageCommand, settings_of
from skytool.cli.main import LateGroup, Program, cli
from skytool.cli.report import Reporter
from skytool.errors import IncompatibleError, InputError, NothingToDoError, SkytoolWarning

log = logging.getLogger("skytool.toy")


@click.command("count", cls=StageCommand)
@options.input_files
@options.one_or_dir_output
@click.option("--bin-size", type=click.IntRange(min=1), default=256, help="Bin side [pixel].")
@click.option("--clip", type=float, default=3.5, help="Clipping limit [sigma].")
@click.option("--bad-planes", type=options.PLANES, default="BAD,NO_DATA", help="Planes to skip.")
@click.option("--center", type=options.SKY_POSITION, help="Centre.")
@click.option("--rescale/--no-rescale", default=True, help="Rescale the variance.")
@click.option("--title", default="a title", help="Text.")
@click.option("--range", "limits", type=float, nargs=2, help="Two limits [sigma].")
@options.common_options
@click.pass_context
def count(ctx, inputs, destination, run, **settings):
    """Count the bytes of each input."""
    outputs = destination.paths(inputs)
    with Reporter("count", ["bytes"], run=run, total=len(inputs)) as report:
        for index, (source, output) in enumerate(zip(inputs, outputs, strict=True)):
            try:
                size = work(source)
            except (InputError, IncompatibleError, NothingToDoError) as error:
                if not run.keep_going:
                    raise
                report.failure(source, error, index=index)
                continue
            finally:
                report.advance(source)
            output.parent.mkdir(exist_ok=True)
            lines = [f"{name} = {value} ({origin})" for name, value, origin in settings_of(ctx)]
            output.write_text("\n".join(lines) + "\n")
            report.row(output, {"bytes": size, "unknown": float("nan")})


def work(source):
    """Do what the name of the file says."""
    name = Path(source).name
    log.debug("looking at %s", name)
    if "warn" in name:
        warnings.warn(f"{name} is odd", SkytoolWarning, stacklevel=2)
    if "bad" in name:
        raise IncompatibleError(f"{name} does not fit.", hint="Take another.", limit=2.5)
    if "empty" in name:
        raise NothingToDoError(f"{name} does not overlap.")
    if "missing" in name:
        raise InputError(f"{name}: no such file.")
    if "bug" in name:
        raise ValueError("shapes differ")
    if "disk" in name:
        raise OSError(28, "No space left on device", name)
    if "memory" in name:
        raise MemoryError
    if "sleep" in name:
        part = Path(source).with_name("part")
        part.write_text("half")
        try:
            time.sleep(60)
        finally:
            part.unlink()
    if "interrupt" in name:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    return Path(source).stat().st_size


TABLE = {"count": ("tests.cli.toy:count", "Count bytes."), "sky": ("tests.cli.toy:sky", "Group.")}
NESTED = {"build": ("tests.cli.toy:count", "Build.")}

sky = LateGroup("sky", late=NESTED)
program = Program(
    "skytool",
    late=TABLE,
    context_settings=cli.context_settings,
    params=list(cli.params[:1]),
    callback=cli.callback,
)

if __name__ == "__main__":
    program()
