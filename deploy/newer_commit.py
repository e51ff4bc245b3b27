"""Refuses to go back: exits with 1 if this commit is older than the one that is in place.

    python3 deploy/newer_commit.py THIS IN_PLACE

Both are commits of the checkout, which needs its history; IN_PLACE may be empty or unknown. A run
of CI may start late, wait for an approval, or be started again, while a newer commit's run passes.
To go back on purpose, revert the commit: a revert is newer.
"""

import subprocess
import sys


def is_older(this: str, in_place: str) -> bool:
    """Whether ``in_place`` is another commit whose history holds ``this``."""
    if not in_place or this == in_place:
        return False
    command = ["git", "merge-base", "--is-ancestor", this, in_place]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> int:
    if len(sys.argv) != 3:  # noqa: PLR2004 - the program and its two arguments
        print(__doc__, file=sys.stderr)
        return 2
    this, in_place = sys.argv[1:]
    if is_older(this, in_place):
        print(f"error: {in_place} is in place, and newer than {this}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
