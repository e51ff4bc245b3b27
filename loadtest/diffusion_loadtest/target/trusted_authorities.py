"""TLS with the authorities of the image and those of ``SSL_CERT_FILE``."""

import os
from typing import Any

from gevent.ssl import SSLContext, create_default_context

BUNDLE_VARIABLE = "SSL_CERT_FILE"
"""The variable that names a bundle of certificates, such as a company's own authority."""


def tls_context(cafile: str | None = None) -> SSLContext:
    """A context that trusts the authorities in `cafile` and in the variable's bundle.

    The client's own default reads `cafile` alone, so that a private authority could not be added.

    Raises:
        OSError: The bundle can't be read.
    """
    context: Any = create_default_context(cafile=cafile)
    bundle = os.environ.get(BUNDLE_VARIABLE)
    if bundle:
        context.load_verify_locations(cafile=bundle)
    return context  # type: ignore[no-any-return] # gevent replaces the standard library's
