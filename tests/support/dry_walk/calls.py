"""Command lines of stand-ins, checked against a table of commands and their options."""

import sys
from pathlib import Path
from typing import NoReturn

# Options whose value is a word of its own.
VALUES = {"-var", "--tag", "--format", "--repo", "--source-ref", "--signer-workflow", "--jq"}
VALUES |= {"--location", "--project", "--namespace", "--filename", "-f", "-k", "--patch", "--type"}
VALUES |= {"--output", "--field-selector", "-n", "--field-manager", "--title", "--notes-file"}
VALUES |= {"--version", "--app-version", "--destination", "--owner"}


def fail(text: str) -> NoReturn:
    sys.exit(f"{Path(sys.argv[0]).name}: {text}")


class Call:
    """A command line: its command, options and operands, checked against a table."""

    def __init__(self, words: list[str], table: dict[str, set[str]]) -> None:
        self.options: dict[str, list[str]] = {}
        self.operands: list[str] = []
        rest = iter(words)
        for word in rest:
            if not word.startswith("-") or word == "-":
                self.operands.append(word)
                continue
            name, equals, value = word.partition("=")
            if not equals and name in VALUES:
                value = next(rest, "") or fail(f"{name} needs a value")
            self.options.setdefault(name, []).append(value)
        names = [" ".join(self.operands[:count]) for count in (4, 3, 2, 1)]
        self.command = next((each for each in names if each in table), "")
        if not self.command:
            fail(f"no command {' '.join(words)}")
        self.operands = self.operands[len(self.command.split()) :]
        if unknown := set(self.options) - table[self.command]:
            fail(f"{self.command} has no {sorted(unknown)}")

    def value(self, name: str) -> str:
        return self.options.get(name, [""])[0]
