"""`hf://`: a repository of a Hugging Face Hub, or of one that speaks its API."""

import os
from collections.abc import Iterator, Mapping, Sequence

# Before the hub's client reads it: no telemetry is sent.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import httpx2
from huggingface_hub import (
    HfApi,
    get_hf_file_metadata,
    get_session,
    hf_hub_url,
    hf_raise_for_status,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from diffusion_serving.fetch.credentials import credential
from diffusion_serving.fetch.remote import InterruptedDownload, RemoteFile
from diffusion_serving.fetch.sources import Hub
from diffusion_serving.observability.startup_errors import DownloadFailed, InvalidConfiguration

_DEFAULT_ENDPOINT = "https://huggingface.co"
_PIECE = 1024 * 1024
_TIMEOUT = httpx2.Timeout(30.0)
_PARTIAL_CONTENT = 206
_LONGEST_WAIT = 60
_AGAIN_LATER = frozenset({408, 429, 500, 502, 503, 504})
_REFUSED = frozenset({401, 403})


class HubRepo:
    """The files of a revision, at the commit that it named when the files were listed."""

    def __init__(self, source: Hub, environ: Mapping[str, str]) -> None:
        self._source = source
        self._endpoint = (environ.get("HF_ENDPOINT") or _DEFAULT_ENDPOINT).rstrip("/")
        self._token = credential(environ, "HF_TOKEN", "model.tokenSecretRef")
        self._commit = ""
        self._paths: dict[str, str] = {}

    def files(self) -> Sequence[RemoteFile]:
        api = HfApi(endpoint=self._endpoint, token=self._token or False)
        try:
            info = api.model_info(
                self._source.repo,
                revision=self._source.revision,
                files_metadata=True,
                timeout=30.0,
            )
        except (httpx2.HTTPError, HfHubHTTPError, HFValidationError) as error:
            failed = self._failure(error)
            if _may_pass(error):
                raise InterruptedDownload(str(failed), _retry_after(error)) from None
            raise failed from None
        self._commit = info.sha or ""
        files = []
        for file in info.siblings or ():
            if (own := _below(self._source.inner, file.rfilename)) is None:
                continue
            self._paths[own] = file.rfilename
            size = self._size(file.rfilename) if file.size is None else file.size
            sha256 = file.lfs.sha256 if file.lfs else None
            files.append(RemoteFile(own, size, file.blob_id or self._commit, sha256))
        if not files:
            raise DownloadFailed(f"{self._name} has no file {self._source.inner or 'at all'}.")
        return files

    def _size(self, path: str) -> int:
        """Asks for the size of one file, which some mirrors leave out of their listings."""
        url = hf_hub_url(self._source.repo, path, revision=self._commit, endpoint=self._endpoint)
        try:
            metadata = get_hf_file_metadata(url, token=self._token or False, timeout=30.0)
        except (httpx2.HTTPError, HfHubHTTPError) as error:
            failed = self._failure(error)
            if _may_pass(error):
                raise InterruptedDownload(str(failed), _retry_after(error)) from None
            raise failed from None
        if metadata.size is None:
            raise DownloadFailed(
                f"{self._endpoint} tells the size of {path} neither in its list nor to HEAD. Use a "
                "mirror that does."
            )
        return metadata.size

    def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
        path = self._paths[file.path]
        url = hf_hub_url(self._source.repo, path, revision=self._commit, endpoint=self._endpoint)
        # The sizes in the listing are those of the uncompressed content.
        headers = {"Range": f"bytes={offset}-", "Accept-Encoding": "identity"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            with get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT) as response:
                hf_raise_for_status(response)
                skip = 0 if response.status_code == _PARTIAL_CONTENT else offset
                for piece in response.iter_bytes(_PIECE):
                    yield piece[skip:]
                    skip = max(0, skip - len(piece))
        except (httpx2.HTTPError, HfHubHTTPError) as error:
            failed = self._failure(error)
            if _may_pass(error):
                raise InterruptedDownload(str(failed), _retry_after(error)) from None
            raise failed from None

    @property
    def _name(self) -> str:
        revision = f"@{self._source.revision}" if self._source.revision else ""
        return f"hf://{self._source.repo}{revision}"

    def _failure(self, error: Exception) -> DownloadFailed | InvalidConfiguration:
        """Returns the refusal for an error of the client, whose message may hold signed URLs."""
        match error:
            case HFValidationError():
                return InvalidConfiguration(
                    f"{self._name} is no name of a repository: write hf://org/repo."
                )
            case GatedRepoError():
                message = (
                    f"{self._name} is gated. Accept its conditions on {self._endpoint} with an "
                    f"account, and give that account's token as model.tokenSecretRef{self._given}."
                )
            case RevisionNotFoundError():
                message = (
                    f"{self._name} does not exist: the repository has no such branch, tag or "
                    "commit. Check model.revision."
                )
            case RepositoryNotFoundError():
                message = (
                    f"{self._name} was not found on {self._endpoint}. The repository does not "
                    "exist, or is private and needs a token that may read it as "
                    "model.tokenSecretRef"
                    f"{self._given}."
                )
            case HfHubHTTPError():
                status = error.response.status_code
                message = f"{self._endpoint} answered {status} for {self._name}."
                if status in _REFUSED:
                    message = (
                        f"{self._endpoint} refused the token for {self._name} (status {status}). "
                        f"Check model.tokenSecretRef{self._given}."
                    )
            case _:
                message = (
                    f"{self._endpoint} cannot be reached ({type(error).__name__}). Check the "
                    "network, and HF_ENDPOINT if it is set."
                )
        return DownloadFailed(message)

    @property
    def _given(self) -> str:
        return "" if self._token else " (none is given)"


def _may_pass(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _AGAIN_LATER
    return isinstance(error, httpx2.TransportError)


def _retry_after(error: Exception) -> float:
    """Seconds that the hub asks to wait, a minute at most; 0 where it asks for none."""
    if not isinstance(error, HfHubHTTPError):
        return 0.0
    text = error.response.headers.get("retry-after", "")
    return float(min(int(text), _LONGEST_WAIT)) if text.isdecimal() else 0.0


def _below(inner: str, path: str) -> str | None:
    """A path relative to the inner one, the name of the file that the inner one is, or None."""
    if path == inner:
        return path.rpartition("/")[2]
    if not inner:
        return path
    return path[len(inner) + 1 :] if path.startswith(f"{inner}/") else None
