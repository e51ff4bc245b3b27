"""Route: the way in from outside the cluster."""

from typing import Literal

from pydantic import ConfigDict, Field

from diffusion_operator.api.fields import (
    Model,
    ObjectName,
    rule,
    rules,
)


class GatewayRef(Model):
    """A Gateway of the Gateway API."""

    name: ObjectName = Field(description="Name of the Gateway.")
    namespace: ObjectName | None = Field(
        None, description="Its namespace. Default: the service's own."
    )
    section_name: ObjectName | None = Field(
        None, description="Name of the listener to use. Default: each that fits the host."
    )
    scheme: Literal["https", "http"] = Field(
        "https", description="Scheme of that listener, for status.url. Default: https."
    )


class Route(Model):
    """The way in from outside the cluster."""

    host: str = Field(
        min_length=1,
        max_length=253,
        description="Host name, such as images.example.com.",
        json_schema_extra=rules(
            rule(
                r"self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
                "route.host is a host name alone, such as images.example.com",
            )
        ),
    )
    gateway_ref: GatewayRef | None = Field(
        None, description="The Gateway that an HTTPRoute is made for. TLS ends at its listener."
    )
    ingress_class_name: ObjectName | None = Field(
        None, description="Class of an Ingress that is made instead, such as nginx."
    )
    tls_secret_name: ObjectName | None = Field(
        None, description="Secret with the certificate of an Ingress. Default: no TLS."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.gatewayRef) != has(self.ingressClassName)",
                "set exactly one of route.gatewayRef (an HTTPRoute is made) and "
                "route.ingressClassName (an Ingress is made)",
            ),
            rule(
                "!has(self.tlsSecretName) || has(self.ingressClassName)",
                "route.tlsSecretName is for an Ingress: with a Gateway the certificate is named "
                "in its listener",
                ".tlsSecretName",
            ),
        )
    )
