"""Builds and installs the checkers before the tests, with progress; no test waits for it then."""

import sys

from checkers import actionlint, cel, checkov, glua, promtool, zizmor
from kuberay import ray_operator
from localcluster.errors import LocalClusterError
from localcluster.programs import tidy
from terraform_offline.mirror import mirror, used_resources
from terraform_offline.paths import TOOLS
from terraform_offline.programs import terraform
from terraform_offline.workspace import REAL


def main() -> int:
    try:
        for make in (terraform, actionlint, cel, glua, promtool, ray_operator, checkov, zizmor):
            make()
        tidy(TOOLS)
        if not REAL:
            mirror(used_resources())
    except LocalClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
