"""The command line, and the steps from a source to a directory."""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from diffusion_serving.fetch import sources, store
from diffusion_serving.fetch.listing import listed
from diffusion_serving.fetch.remote import Remote
from diffusion_serving.fetch.selection import INDEX, PREPARATION, needed
from diffusion_serving.fetch.sources import Bucket, Hub
from diffusion_serving.observability import logs, termination
from diffusion_serving.observability.startup_errors import DownloadFailed, StartupError

log = logging.getLogger("diffusion_serving")

_CLIENTS = ("httpx", "httpx2", "huggingface_hub", "botocore", "aiobotocore", "s3fs", "gcsfs")
"""Libraries whose logs may hold signed URLs and headers."""


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m diffusion_serving.fetch",
        description="Fetches a diffusers pipeline, a LoRA or a safety checker, safetensors only. "
        "Does nothing if it is there already.",
    )
    parser.add_argument("--source", required=True, help="hf://org/repo, s3://… or gs://…")
    parser.add_argument("--revision", help="branch, tag or commit of an hf:// source")
    parser.add_argument("--to", required=True, type=Path, help="directory that shall hold it")
    flags = parser.parse_args(argv)
    logs.configure(sys.stdout)
    for name in _CLIENTS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        fetch(flags.source, flags.revision, flags.to, environ)
    except StartupError as error:
        termination.report(error, environ)
        return 1
    except Exception as error:
        log.exception("unhandled exception; exiting")
        name = type(error).__name__
        termination.report(
            DownloadFailed(f"The fetch failed with an unhandled exception ({name})."), environ
        )
        return 1
    return 0


def fetch(source: str, revision: str | None, target: Path, environ: Mapping[str, str]) -> None:
    """Fills the target directory from the source, unless it is there.

    Raises:
        StartupError: the reason why the directory is not filled.

    """
    fields = {"source": source, "revision": revision, "to": str(target)}
    place = sources.parse(source, revision)
    if target.exists():
        log.info("already there", extra=fields)
        return
    log.info("fetching", extra=fields)
    with store.lock_beside(target):
        if target.exists():
            log.info("another process has fetched it", extra=fields)
            return
        remote = _connect(place, environ)
        files = needed(listed(remote), lambda file: b"".join(store.pieces(remote, file)))
        store.fill(remote, files, target, _checked)
    log.info("fetched", extra=fields)


def _connect(source: Hub | Bucket, environ: Mapping[str, str]) -> Remote:
    """A client of the source, with credentials from the environment. Sends no request yet."""
    if isinstance(source, Hub):
        from diffusion_serving.fetch.hub import HubRepo  # noqa: PLC0415 - imports much

        return HubRepo(source, environ)
    from diffusion_serving.fetch.buckets import BucketFolder  # noqa: PLC0415 - same

    return BucketFolder(source, environ)


def _checked(folder: Path) -> None:
    """Refuses files that could not be loaded, before they get the directory's name."""
    from diffusion_serving.fetch.checker_files import find_checker  # noqa: PLC0415 - imports numpy
    from diffusion_serving.fetch.model_files import find_lora, inspect  # noqa: PLC0415 - same

    if (folder / INDEX).exists():
        inspect(folder)
        find_checker(folder, None)
    elif (folder / PREPARATION).exists():
        find_checker(folder, None, ("fetched", folder))
    else:
        find_lora("fetched", folder)
