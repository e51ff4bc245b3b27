"""Where things are, and what is kept between runs."""

import hashlib
import os
from pathlib import Path

from localcluster.paths import Cache

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
TERRAFORM = ROOT / "terraform"
UV = ROOT / ".uv" / "bin" / "uv"

KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diffusion-operator"

TOOLS = Cache(KEPT / "tools")
"""Programs built from Go sources for the tests, as `localcluster` keeps its own."""

DERIVED = KEPT / "terraform"
"""What is made of the bindings, each under the hash of what it is made of."""


def content_hash(*parts: bytes) -> str:
    """Sixteen hex digits of the parts in their order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]
