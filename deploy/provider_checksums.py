"""Refuses a Terraform root whose lock file holds no checksum of a provider.

    python3 deploy/provider_checksums.py terraform/environments/prod

`terraform init` accepts any provider of the right version where no checksum is recorded, even with
-lockfile=readonly.
"""

import re
import sys
from pathlib import Path

_PROVIDER = re.compile(r'^provider "(.+?)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
_CHECKSUM = re.compile(r'"(?:h1:[A-Za-z0-9+/]{43}=|zh:[0-9a-f]{64})"')


def without_checksum(lock: str) -> list[str]:
    """The providers of a lock file that have no checksum."""
    return [name for name, body in _PROVIDER.findall(lock) if not _CHECKSUM.search(body)]


def main() -> int:
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its one argument
        print(__doc__, file=sys.stderr)
        return 2
    file = Path(sys.argv[1]) / ".terraform.lock.hcl"
    if open_to_any := without_checksum(file.read_text()):
        print(
            f"error: {file} has no checksum of {', '.join(open_to_any)}, so any program could "
            "take the provider's place. Commit the lock files of the artifact provider-locks, "
            "which the workflow test makes, or run terraform providers lock (terraform/README.md).",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
