"""The custom resources, as frozen pydantic models that are also the source of their CRDs."""

GROUP = "diffusion.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
