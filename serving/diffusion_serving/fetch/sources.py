"""Sources of models, as users write them."""

import re
from dataclasses import dataclass

from diffusion_serving.observability.startup_errors import InvalidConfiguration

_HUB = re.compile(
    r"hf://(?P<repo>[\w.-]+(/[\w.-]+)?)(?:@(?P<revision>[^\s@]+)|/(?P<inner>[^\s@]+?)/?)?"
)
_BUCKET = re.compile(r"(?P<scheme>s3|gs)://(?P<root>[^\s/]+(/[^\s/]+)*)/?")


@dataclass(frozen=True)
class Hub:
    """`hf://org/repo`, `hf://org/repo@revision`, or `hf://org/repo/inner/path`."""

    repo: str
    revision: str | None
    inner: str


@dataclass(frozen=True)
class Bucket:
    """`s3://bucket/path` or `gs://bucket/path`; `root` is without the scheme."""

    scheme: str
    root: str


def parse(source: str, revision: str | None) -> Hub | Bucket:
    """Parses a source.

    Raises:
        InvalidConfiguration: the source is of no known kind.

    """
    if match := _HUB.fullmatch(source):
        named = match["revision"]
        if named and revision and named != revision:
            raise InvalidConfiguration(
                f"{source} names the revision {named} and --revision is {revision}: leave one out."
            )
        return Hub(match["repo"], revision or named, match["inner"] or "")
    if match := _BUCKET.fullmatch(source):
        if revision:
            raise InvalidConfiguration(
                f"{source} has no revisions, only hf:// sources have: leave the revision out."
            )
        return Bucket(match["scheme"], match["root"])
    raise InvalidConfiguration(
        f"{source!r} cannot be fetched: write hf://org/repo, s3://bucket/path or gs://bucket/path."
    )
