"""Command that checks a GPU from the model's load to a mixed load, and prints one table.

`python -m diffusion_serving.gpu_check` makes a model with random weights, so it needs no network.
Run the command before anything is served on the GPU: it takes most of the device's time.
"""

import argparse
import logging
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from diffusion_serving.gpu_check.lines import Line, Verdict, head, judged, row, skipped, summary

LIMIT_SECONDS = 480.0
_LOAD_SECONDS = {"cuda": 40.0, "cpu": 1.0}
_COMPILE = {"cuda": "regional", "cpu": "none"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m diffusion_serving.gpu_check",
        description="Checks a GPU with the server's own code, and prints a table. The exit code is "
        "1 if a check failed.",
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--size", choices=("sd14", "tiny"), default="sd14", help="of the random model"
    )
    parser.add_argument("--model", type=Path, help="a directory of a model, in place of that")
    parser.add_argument(
        "--compile",
        choices=("none", "regional", "full"),
        help="the way that is checked; default regional on a GPU, none on a CPU",
    )
    parser.add_argument("--folder", type=Path, help="for the model, 2 GB; default the system's own")
    parser.add_argument(
        "--seconds", type=float, default=LIMIT_SECONDS, help="no check begins later; default 480"
    )
    return parser


class Table:
    """The lines so far, each printed as soon as it is known."""

    def __init__(self, limit: float) -> None:
        self.lines: list[Line] = []
        self._limit = limit
        self._begin = time.monotonic()
        print(head(), flush=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begin

    @property
    def failed(self) -> bool:
        return any(line.verdict is Verdict.FAIL for line in self.lines)

    def add(self, line: Line) -> None:
        self.lines.append(line)
        print(row(line), flush=True)

    def take(self, check: str, lines: Callable[[], Iterator[Line]]) -> bool:
        """Adds a check's lines, one in place of them if it fails or begins too late.

        Returns whether the check came to its end.
        """
        if self.seconds > self._limit:
            self.add(skipped(check, f"{self._limit:.0f} s are over"))
            return False
        try:
            for line in lines():
                self.add(line)
        except Exception as error:  # noqa: BLE001 - any failure is a line, and the others go on
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
            self.add(Line(check, "", Verdict.FAIL, reason))
            return False
        return True

    def end(self) -> int:
        """Prints the last lines; returns the exit code."""
        taken = f"{self.seconds:.0f} s of {self._limit:.0f} s"
        otherwise = "the whole check took too long"
        self.add(judged("time", taken, holds=self.seconds <= self._limit, otherwise=otherwise))
        print(summary(self.lines))
        return int(self.failed)


def main(argv: Sequence[str]) -> int:
    flags = _parser().parse_args(argv)
    # Its warnings of a shortage would be in the table's middle, where the shortage is on purpose.
    logging.getLogger("diffusion_serving").setLevel(logging.ERROR)
    table = Table(flags.seconds)
    with tempfile.TemporaryDirectory(dir=flags.folder, prefix="gpu-check-") as folder:
        _check(flags, table, flags.model or Path(folder) / "model")
    return table.end()


def _check(flags: argparse.Namespace, table: Table, model: Path) -> None:
    # Here and not above, because the help must not wait for torch.
    from diffusion_serving.gpu_check import checks  # noqa: PLC0415
    from diffusion_serving.gpu_check.setting import Setting  # noqa: PLC0415

    compiling = flags.compile or _COMPILE[flags.device]
    setting = Setting(model, flags.device, compiling, _LOAD_SECONDS[flags.device])
    if not table.take("device", lambda: checks.check_device(setting)):
        return
    if flags.model is None and not table.take(
        "model", lambda: checks.make_model(setting, flags.size)
    ):
        return
    checks.check_all(setting, table.take)
