"""`s3://` and `gs://`: folders of a bucket, through fsspec."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Before gcsfs is imported: otherwise gcsfs first queries the kind of bucket over gRPC, and where
# only HTTP gets through, a proxy or an emulator, waits a minute for that each time.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

import aiohttp
import fsspec  # type: ignore[import-untyped]  # brings no types
import requests
from botocore import exceptions as boto  # type: ignore[import-untyped]  # same

from diffusion_serving.fetch.credentials import credential
from diffusion_serving.fetch.remote import InterruptedDownload, RemoteFile
from diffusion_serving.fetch.sources import Bucket
from diffusion_serving.observability.startup_errors import DownloadFailed

_PIECE = 8 * 1024 * 1024
"""Bytes of one read."""

_NO_CREDENTIALS = (boto.NoCredentialsError, boto.PartialCredentialsError)
_UNREACHABLE = (
    aiohttp.ClientError,
    boto.ConnectionError,
    boto.HTTPClientError,
    requests.ConnectionError,
    requests.Timeout,
    ConnectionError,
    TimeoutError,
)
_REFUSED = frozenset({401, 403})
_S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_FIELD = "model.credentialsSecretRef"
_CREDENTIALS = f"{_FIELD}, or the role of the service account"


class BucketFolder:
    """The objects below a path, or the one object that the path is."""

    def __init__(self, source: Bucket, environ: Mapping[str, str]) -> None:
        self._root = source.root
        self._name = f"{source.scheme}://{source.root}"
        self._endpoint, options = _options(source.scheme, environ)
        self._system: Any = fsspec.filesystem(
            source.scheme, skip_instance_cache=True, use_listings_cache=False, **options
        )
        # One request a try, because the listing and the download have tries of their own:
        # otherwise each of those is five tries of s3fs with five of botocore each.
        self._system.retries = 1
        self._paths: dict[str, str] = {}

    def files(self) -> Sequence[RemoteFile]:
        try:
            objects: Mapping[str, Any] = self._system.find(self._root, detail=True)
        except Exception as error:  # noqa: BLE001 - the clients below raise errors of all sorts
            failed = self._failure(error)
            if _is_final(error):
                raise failed from None
            raise InterruptedDownload(str(failed)) from None
        if not objects:
            raise self._failure(FileNotFoundError())
        files = []
        for path, info in objects.items():
            own = path.rpartition("/")[2] if path == self._root else path[len(self._root) + 1 :]
            version = str(info.get("ETag") or info.get("etag") or info.get("generation"))
            self._paths[own] = path
            files.append(RemoteFile(own, int(info["size"]), version))
        return files

    def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
        try:
            with self._system.open(self._paths[file.path], "rb", cache_type="none") as opened:
                opened.seek(offset)
                while piece := opened.read(_PIECE):
                    yield piece
        except Exception as error:  # noqa: BLE001 - same
            failed = self._failure(error)
            if _is_final(error):
                raise failed from None
            raise InterruptedDownload(str(failed)) from None

    def _failure(self, error: Exception) -> DownloadFailed:
        """Returns the refusal for an error of one of the clients."""
        if isinstance(error, FileNotFoundError):
            return DownloadFailed(
                f"{self._name} was not found on {self._endpoint}: there is no such bucket, or "
                "nothing below that path. Check the source."
            )
        if isinstance(error, _NO_CREDENTIALS):
            return DownloadFailed(
                f"{self._name} needs credentials, and none were found. Give them by {_CREDENTIALS}."
            )
        if _is_refusal(error):
            return DownloadFailed(
                f"{self._endpoint} refused access to {self._name}. Check {_CREDENTIALS}: it must "
                "be allowed to list the bucket and to read its objects."
            )
        if isinstance(error, _UNREACHABLE):
            return DownloadFailed(
                f"{self._endpoint} cannot be reached ({type(error).__name__}). Check the network, "
                "and AWS_ENDPOINT_URL or STORAGE_EMULATOR_HOST if they are set."
            )
        return DownloadFailed(
            f"{self._endpoint} answered with an error for {self._name} ({type(error).__name__}: "
            f"{str(error)[:200]})."
        )


def _is_final(error: Exception) -> bool:
    return isinstance(error, (FileNotFoundError, *_NO_CREDENTIALS)) or _is_refusal(error)


def _is_refusal(error: Exception) -> bool:
    # gcsfs has an error of its own with a code, and for 403 a plain OSError that starts so.
    return (
        isinstance(error, PermissionError)
        or getattr(error, "code", None) in _REFUSED
        or str(error).startswith("Forbidden")
    )


def _options(scheme: str, environ: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Returns the endpoint and the options of fsspec's file system for it."""
    if scheme == "s3":
        # The Secret may hold these, too, and its blanks.
        own, common = (credential(environ, name, _FIELD) for name in _S3_ENDPOINTS)
        endpoint, region = own or common, credential(environ, "AWS_DEFAULT_REGION", _FIELD)
        once = {"mode": "standard", "total_max_attempts": 1}
        client = {"connect_timeout": 10, "read_timeout": 60, "retries": once}
        return endpoint or "S3", {
            "endpoint_url": endpoint,
            "client_kwargs": {"region_name": region} if region else {},
            "config_kwargs": client,
            "key": credential(environ, "AWS_ACCESS_KEY_ID", _FIELD),
            "secret": credential(environ, "AWS_SECRET_ACCESS_KEY", _FIELD),
            "token": credential(environ, "AWS_SESSION_TOKEN", _FIELD),
        }
    emulator = environ.get("STORAGE_EMULATOR_HOST")
    # Explicit, because gcsfs would ignore an unusable key file in silence.
    token = "anon" if emulator else environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    # Unlike the others, its client reads the variables of proxies only where it is told to.
    session = {"trust_env": True}
    return emulator or "Google Cloud Storage", {"token": token, "session_kwargs": session}
