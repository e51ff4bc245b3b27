"""Commands that run in parallel, with their progress."""

import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_STEP = re.compile(r"\d+/\d+\]?:? (?=RUN |COPY )(.*)")
"""buildah's `[1/2] STEP 3/4: RUN …` and BuildKit's `#5 [operator 3/4] RUN …`."""
_CACHED = re.compile(r"--> Using cache|^#\d+ CACHED")
_NOISE = re.compile(r"if \[ .*? fi && |--[a-z-]+(=\S+)? *")
_SHOWN = 90
_TAIL_LINES = 40
_SILENCE_SECONDS = 20.0


class BuildError(Exception):
    """A build failed; the message tells the user the failed step and the remedy."""


@dataclass
class Progress:
    """Prints lines on stderr with the seconds since the start; thread-safe."""

    started: float = field(default_factory=time.monotonic)

    def say(self, subject: str, text: str) -> None:
        seconds = time.monotonic() - self.started
        print(f"[{seconds:6.1f} s] {subject:9} {text}", file=sys.stderr, flush=True)

    def run(
        self,
        subject: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str],
        keep_open: Sequence[int] = (),
    ) -> None:
        """Runs `command`, shows the steps that are not cached, and writes all output to `log`.

        File descriptors in `keep_open` stay open in the child, which so keeps their locks if this
        process is killed.

        Raises:
            BuildError: The command failed; the message has its last lines.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        last: deque[str] = deque(maxlen=_TAIL_LINES)
        step, doing = "", " ".join(command[:2])
        ended = threading.Event()

        def remind() -> None:
            while not ended.wait(_SILENCE_SECONDS):
                self.say(subject, f"… {doing}")

        with (
            log.open("w") as copy,
            subprocess.Popen(
                command,
                env=dict(env),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                pass_fds=keep_open,
            ) as child,
        ):
            threading.Thread(target=remind, daemon=True).start()
            for line in child.stdout or ():
                copy.write(line)
                copy.flush()
                last.append(line.rstrip())
                # The line after a step says whether the step is cached.
                if step and not _CACHED.search(line):
                    self.say(subject, step)
                step = ""
                if match := _STEP.search(line):
                    step = doing = _NOISE.sub("", re.sub(r"\s+", " ", match[1]))[:_SHOWN]
            ended.set()
        if child.returncode != 0:
            raise BuildError(
                f"{' '.join(command[:2])} for {subject} failed with exit code {child.returncode}; "
                f"its full output is in {log}, its last lines are:\n"
                + "\n".join(f"    {line}" for line in last)
            )
