"""The listing of a source's files, repeated where it fails for a moment."""

import logging
import time
from collections.abc import Callable, Sequence

from diffusion_serving.fetch.remote import InterruptedDownload, Remote, RemoteFile
from diffusion_serving.observability.startup_errors import DownloadFailed

log = logging.getLogger("diffusion_serving")

_TRIES = 6


def listed(remote: Remote, pause: Callable[[float], object] = time.sleep) -> Sequence[RemoteFile]:
    """Lists all files of a source, with longer pauses between the tries.

    Raises:
        DownloadFailed: the files cannot be listed, or not within the tries.

    """
    for tried in range(1, _TRIES + 1):
        try:
            return remote.files()
        except InterruptedDownload as broken:
            if tried == _TRIES:
                raise DownloadFailed(f"{broken} It was tried {tried} times.") from None
            seconds = max(2.0**tried / 4, broken.after)
            log.warning("the files could not be listed", extra={"again_in_seconds": seconds})
            pause(seconds)
    raise AssertionError("the last try returns or raises")
