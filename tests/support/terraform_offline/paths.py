"""Paths of sources, and of files that are kept between runs."""

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
"""The cache of programs built from Go sources, of the same form as `localcluster`'s own."""

DERIVED = KEPT / "terraform"
"""Folders derived from locked sources, each named after the hash of its sources."""


def content_hash(*parts: bytes) -> str:
    """A hash of the parts in their order, in sixteen hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]
