"""The commands of a guide's console blocks, as one script."""

import re
from pathlib import Path

_CONSOLE = re.compile(r"^ *```console\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def script(guide: Path) -> str:
    """All commands in their order: prompts are cut off, here-documents and long lines stay."""
    lines = "".join(_CONSOLE.findall(guide.read_text())).splitlines()
    return "\n".join(re.sub(r"^ *[$>] ", "", line) for line in lines)
