"""`python -m diffusion_serving.fetch --source SOURCE --to DIRECTORY`: see `--help`."""

import os
import signal
import sys

# The first process of a container ignores SIGTERM until it has a handler. The next start resumes
# the download, so this one may end at once.
signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))

from diffusion_serving.fetch.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
