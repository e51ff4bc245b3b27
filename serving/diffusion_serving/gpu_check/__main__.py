"""`python -m diffusion_serving.gpu_check`: see `--help`."""

import os
import sys

from diffusion_serving.gpu_check.command import main

if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the server does
    sys.exit(main(sys.argv[1:]))
