"""Files that the commands write."""

from pathlib import Path

from kubectl_diffusion.terminal.errors import PluginError


def write(path: Path, content: bytes) -> None:
    """Raises ``PluginError`` where the file can't be written."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise PluginError(f"{path} can't be written: {error.strerror}") from None
