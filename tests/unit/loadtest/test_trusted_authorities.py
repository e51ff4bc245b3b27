"""A private authority is trusted beside the public ones."""

from pathlib import Path

import certifi
import pytest

from diffusion_loadtest.target.trusted_authorities import BUNDLE_VARIABLE, tls_context

END = "-----END CERTIFICATE-----\n"


def one_of_its_own(number: int, folder: Path) -> Path:
    """A bundle with one of the public authorities, which plays a private one."""
    certificates = Path(certifi.where()).read_text().split(END)
    file = folder / f"{number}.pem"
    file.write_text(certificates[number] + END)
    return file


def test_the_bundle_of_the_variable_is_trusted_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, private = (one_of_its_own(number, tmp_path) for number in (0, 1))
    monkeypatch.delenv(BUNDLE_VARIABLE, raising=False)
    before = tls_context(str(public)).get_ca_certs()
    monkeypatch.setenv(BUNDLE_VARIABLE, str(private))
    after = tls_context(str(public)).get_ca_certs()
    assert len(before) == 1
    assert len(after) == 2
    assert before[0] in after


def test_a_bundle_that_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BUNDLE_VARIABLE, str(tmp_path / "none.pem"))
    with pytest.raises(OSError, match="No such file"):
        tls_context(str(certifi.where()))
