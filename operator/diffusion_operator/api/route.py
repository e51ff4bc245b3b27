"""Route: the way in from outside the cluster."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from diffusion_operator.api.fields import (
    Duration,
    Model,
    ObjectName,
    duration_rules,
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
    annotations: dict[str, Annotated[str, Field(max_length=4096)]] = Field(
        default_factory=dict,
        max_length=32,
        description="Annotations of the Ingress or HTTPRoute, by which controllers are configured: "
        "nginx.ingress.kubernetes.io/proxy-read-timeout, …",
    )
    timeout: Duration | None = Field(
        None,
        description="Longest time for a whole request through a Gateway (HTTPRoute "
        "timeouts.request). Default: the Gateway's own, often shorter than many steps take. An "
        "Ingress has an annotation for it.",
        json_schema_extra=duration_rules(
            "duration(self) >= duration('1s') && duration(self) <= duration('1h')",
            "route.timeout is between 1s and 1h",
        ),
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
            rule(
                "!has(self.timeout) || has(self.gatewayRef)",
                "route.timeout is for a Gateway: with an Ingress, set the controller's own "
                "annotation in route.annotations",
                ".timeout",
            ),
        )
    )
