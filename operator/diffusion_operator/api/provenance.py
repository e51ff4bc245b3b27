"""Provenance: the marks of origin in the pictures of a service."""

from pydantic import Field

from diffusion_operator.api.fields import Model
from diffusion_operator.api.model_source import SecretName


class ContentCredentials(Model):
    """The signature of every picture: a C2PA manifest."""

    certificate_secret_ref: SecretName = Field(
        description="Secret with the certificate chain in tls.crt, the signer's own first, and its "
        "private key in tls.key, as cert-manager and kubectl create secret tls write it. A changed "
        "Secret takes effect without a restart, within a minute or so; a picture that can't be "
        "signed isn't given away.",
    )


class Provenance(Model):
    """The marks of origin in every picture."""

    metadata: bool = Field(
        True,
        description="True puts IPTC's digital source type trainedAlgorithmicMedia into every PNG, "
        "JPEG and WebP, as XMP; no prompt is in it. Default: true.",
    )
    content_credentials: ContentCredentials | None = Field(
        None, description="Signature of every picture. Default: none."
    )
