"""Files that the commands write."""

from pathlib import Path

from kubectl_diffusion.terminal.errors import PluginError


def write(path: Path, content: bytes) -> None:
    """Writes a file. Raises ``PluginError`` if that fails."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise PluginError(f"{path} can't be written: {error.strerror}") from None


def check_folder(path: Path) -> None:
    """Raises ``PluginError`` where a file's folder is missing, before the work for the file."""
    if not path.parent.is_dir():
        raise PluginError(
            f"there is no folder {path.parent}: make it first, or choose another path than {path}"
        )
