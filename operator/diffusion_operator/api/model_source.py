"""Model source: where the weights and LoRAs come from, and the cache that keeps them."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from diffusion_operator.api.fields import (
    MOST_TEXT,
    Decimal,
    Model,
    ObjectName,
    SecretKey,
    decimal_schema,
    rule,
    rules,
    text_or_number,
)

PATHS = (
    r"self.matches('^image:///[^ ]*[^ /]$') "
    r"|| self.matches('^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[^ ]+)?$')"
    r"|| self.matches('^hf://[A-Za-z0-9][-A-Za-z0-9._]*(/[A-Za-z0-9][-A-Za-z0-9._]*)?$')"
    r"|| self.matches('^(s3|gs)://[a-z0-9][-a-z0-9._]*[a-z0-9](/[^ ]+)?$')"
)
# Repositories of LoRAs often have several, of which one is meant.
_FILES = (
    r"|| self.matches('^hf://[A-Za-z0-9][-A-Za-z0-9._]*/[A-Za-z0-9][-A-Za-z0-9._]*"
    r"/[^ @]+[.]safetensors$')"
)
_IS_QUANTITY = "type(self) == string && isQuantity(self)"
NO_WAY_UP = "must not contain '..': write the path without going up"
WHAT_SOURCES = (
    "image:///PATH is a path inside the serving image, pvc://CLAIM/PATH a path on a "
    "PersistentVolumeClaim of the same namespace, mounted read-only; hf://OWNER/REPOSITORY is "
    "fetched from the Hugging Face Hub, s3://BUCKET/PATH and gs://BUCKET/PATH from a bucket."
)
# Of a model and its LoRAs: whether any of them is fetched from there.
_ANY_HUB = (
    "(self.source.startsWith('hf://')"
    " || has(self.loras) && self.loras.exists(l, l.source.startsWith('hf://')))"
)
_ANY_BUCKET = (
    "(self.source.startsWith('s3://') || self.source.startsWith('gs://') || has(self.loras)"
    " && self.loras.exists(l, l.source.startsWith('s3://') || l.source.startsWith('gs://')))"
)


def _source_rules(field: str, paths: str = PATHS, hub: str = "") -> dict[str, Any]:
    return rules(
        rule(
            paths,
            f"{field} must be image:///PATH (inside the serving image), pvc://CLAIM/PATH (on a "
            f"PersistentVolumeClaim), hf://OWNER/REPOSITORY{hub} (the Hugging Face Hub; a revision "
            "is written in model.revision), s3://BUCKET/PATH or gs://BUCKET/PATH",
        ),
        rule("!self.contains('..')", f"{field} {NO_WAY_UP}"),
    )


class SecretName(Model):
    """A whole Secret of the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class Lora(Model):
    """A LoRA that a request may name."""

    name: str = Field(
        min_length=1,
        max_length=50,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="Name by which a request refers to it.",
    )
    source: str = Field(
        max_length=512,
        description=f"A LoRA in safetensors, as a file or a directory. {WHAT_SOURCES} Where a "
        "repository holds several LoRAs, end the source in the path of one, as in "
        "hf://OWNER/REPOSITORY/PATH.safetensors.",
        json_schema_extra=_source_rules(
            "a LoRA's source", f"{PATHS} {_FILES}", " or hf://OWNER/REPOSITORY/PATH.safetensors"
        ),
    )
    scale: Decimal = Field(
        "1",
        description="Default strength of a request, such as 0.8. Default: 1.",
        json_schema_extra=decimal_schema(4),
    )


class ModelCache(Model):
    """A volume that keeps what was fetched, shared by the replicas and filled once."""

    claim_name: ObjectName | None = Field(
        None,
        description="A PersistentVolumeClaim of the same namespace. Several services may share it.",
    )
    size: Annotated[str, text_or_number(MOST_TEXT, {})] | None = Field(
        None,
        description="Size of a claim of the service's own, such as 20Gi, which goes when the "
        "service goes. Its storage class must offer the access mode.",
        json_schema_extra=rules(
            rule(
                f"{_IS_QUANTITY} && quantity(self).isGreaterThan(quantity('0'))",
                "model.cache.size is a quantity such as 20Gi",
            ),
            rule(
                f"!({_IS_QUANTITY}) || type(oldSelf) != string || !isQuantity(oldSelf)"
                " || !quantity(self).isLessThan(quantity(oldSelf))",
                "model.cache.size can only grow: a claim can't be made smaller",
            ),
        ),
    )
    access_mode: Literal["ReadWriteMany", "ReadWriteOnce"] = Field(
        "ReadWriteMany",
        description="Access mode of the claim. ReadWriteOnce is for one replica, which ends before "
        "its successor starts. Default: ReadWriteMany.",
        json_schema_extra=rules(
            rule(
                "self == oldSelf",
                "model.cache.accessMode can't be changed: make a claim of the other mode and name "
                "it by model.cache.claimName",
            )
        ),
    )
    storage_class_name: ObjectName | None = Field(
        None,
        description="Storage class of that claim. Default: the cluster's own default.",
        json_schema_extra=rules(
            rule(
                "self == oldSelf",
                "model.cache.storageClassName can't be changed: make a claim of the other class "
                "and name it by model.cache.claimName",
            )
        ),
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.claimName) != has(self.size)",
                "set exactly one of model.cache.claimName (a claim that exists) and "
                "model.cache.size (one is made)",
            ),
            rule(
                "!has(self.storageClassName) || has(self.size)",
                "model.cache.storageClassName belongs to model.cache.size: leave one of them out",
            ),
        )
    )


class ModelSource(Model):
    """Source of the weights."""

    source: str = Field(
        max_length=512,
        description="A diffusers Stable Diffusion directory with safetensors weights: "
        f"{WHAT_SOURCES}",
        json_schema_extra=_source_rules("model.source"),
    )
    revision: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z0-9][-A-Za-z0-9._/]*$",
        description="Branch, tag or commit of an hf:// source. Default: main.",
    )
    token_secret_ref: SecretKey | None = Field(
        None, description="Token of the Hugging Face Hub, for hf:// sources that ask for one."
    )
    credentials_secret_ref: SecretName | None = Field(
        None,
        description="Credentials of s3:// and gs:// sources: for s3 each key becomes an "
        "environment variable (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …), for gs the key key.json "
        "is the service account's file. Only the container that fetches gets them.",
    )
    loras: tuple[Lora, ...] = Field(
        (),
        max_length=16,
        description="LoRAs that a request may name.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    )
    cache: ModelCache | None = Field(
        None,
        description="A volume that keeps what was fetched. Default: each pod fetches for itself.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.revision) || self.source.startsWith('hf://')",
                "model.revision is for hf:// sources only: leave it out",
                ".revision",
            ),
            rule(
                f"!has(self.tokenSecretRef) || {_ANY_HUB}",
                "model.tokenSecretRef is for hf:// sources only: leave it out",
                ".tokenSecretRef",
            ),
            rule(
                f"!has(self.credentialsSecretRef) || {_ANY_BUCKET}",
                "model.credentialsSecretRef is for s3:// and gs:// sources only: leave it out",
                ".credentialsSecretRef",
            ),
            rule(
                f"!has(self.cache) || {_ANY_HUB} || {_ANY_BUCKET}",
                "model.cache keeps what is fetched from hf://, s3:// or gs://, and nothing here "
                "is: leave it out",
                ".cache",
            ),
        )
    )
