"""Builds the project's container images, and pushes them to a registry.

    python3 images/build.py                        all images that have changed
    python3 images/build.py operator               one image
    python3 images/build.py --push 127.0.0.1:5000  and push the images that the registry lacks
    python3 images/build.py --json                 {"operator": "diffusion-operator:<tag>", …}

A tag is a hash of the image's inputs, so an image that exists under its tag is never built or
pushed again. The program needs only Python: it uses Docker if that runs, else Debian's buildah,
which it installs. Names go to stdout, progress to stderr.
"""

import argparse
import concurrent.futures
import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from image_build import registry
from image_build.buildah import Buildah
from image_build.engines import Context, Docker, Engine
from image_build.inputs import IMAGES, Image, shared_stage, tag
from image_build.locks import LockError
from image_build.progress import BuildError, Progress

ROOT = Path(__file__).resolve().parent.parent
CACHE = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    / "diffusion-operator"
    / "images"
)


@contextlib.contextmanager
def only_one(path: Path, progress: Progress) -> Iterator[int]:
    """Holds the lock on `path`, which children of a killed build may still hold."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("waiting", f"another build is running (it holds {path})")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def build(
    engine: Engine, images: list[Image], tags: dict[str, str], base: str, progress: Progress
) -> None:
    """Builds `images` in parallel, each after the stage that it shares with others.

    Raises:
        BuildError: A build failed; raised once the others have ended.
    """
    engine.prepare(base)
    started = time.monotonic()

    def say_built(target: str) -> None:
        progress.say(target, f"built in {time.monotonic() - started:.0f} s")

    def build_stage(stage: str) -> None:
        engine.build_stage(stage, base)
        say_built(stage)

    def build_one(image: Image) -> None:
        if stage := shared_stage(image):
            stages[stage].result()
        engine.build(image, tags[image.name], base)
        say_built(image.target)

    shared = sorted({stage for image in images if (stage := shared_stage(image))})
    with concurrent.futures.ThreadPoolExecutor(len(shared) + len(images)) as pool:
        stages = {stage: pool.submit(build_stage, stage) for stage in shared}
        running = [pool.submit(build_one, image) for image in images]
    for future in running:
        future.result()


def main(known: Sequence[Image] = IMAGES) -> int:
    """Builds the images of `known` that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    targets = [image.target for image in known]
    parser.add_argument(
        "target", nargs="*", help=f"{', '.join(targets)}; default: all", metavar="TARGET"
    )
    parser.add_argument("--push", metavar="REGISTRY", help="host[:port][/path] to push to")
    parser.add_argument(
        "--insecure", action="store_true", help="plain HTTP also to a remote registry"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the images' names as JSON",
    )
    parser.add_argument("--base", help="base image instead of the Dockerfile's")
    options = parser.parse_args()
    if unknown := sorted(set(options.target) - set(targets)):
        parser.error(f"no target {', '.join(unknown)}: the Dockerfile has {', '.join(targets)}")
    images = [image for image in known if image.target in (options.target or targets)]
    progress = Progress()
    try:
        with only_one(CACHE / "lock", progress) as lock:
            context = Context(ROOT, CACHE, progress, lock)
            engine: Engine = Docker(context) if Docker.answers() else Buildah(context)
            base = engine.base(options.base)
            tags = {image.name: tag(ROOT, image, base) for image in images}
            missing = [image for image in images if not engine.has(image.name, tags[image.name])]
            if missing:
                build(engine, missing, tags, base, progress)
                engine.prune(tags)
            for image in images if options.push else ():
                push(
                    engine,
                    image.name,
                    tags[image.name],
                    options.push,
                    progress,
                    insecure=options.insecure,
                )
    except KeyboardInterrupt:
        return 130
    except (BuildError, LockError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    references = {image.target: f"{image.name}:{tags[image.name]}" for image in images}
    print(json.dumps(references) if options.json else "\n".join(references.values()))
    return 0


def push(
    engine: Engine, name: str, tag: str, to: str, progress: Progress, *, insecure: bool
) -> None:
    plain_http = insecure or registry.speaks_plain_http(to)
    if not registry.holds(to, name, tag, plain_http=plain_http):
        started = time.monotonic()
        engine.push(name, tag, to, plain_http=plain_http)
        progress.say("push", f"{name}:{tag} in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
