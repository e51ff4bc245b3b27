"""Ray Serve: its proxy carries requests to replicas, each a whole surface with an engine behind."""

from diffusion_serving.backends.rayserve.cluster_topology import serve_cluster
from diffusion_serving.backends.rayserve.pods_topology import serve_pod
from diffusion_serving.engine_process.startup import Load, load_model
from diffusion_serving.settings import Settings


def serve(settings: Settings, load: Load = load_model) -> int:
    """Serves until a signal comes; returns 0.

    Raises:
        StartupError: the model could not be loaded, its device was lost, or Ray ended.

    """
    if settings.config.rayserve.topology == "cluster":
        return serve_cluster(settings, load)
    return serve_pod(settings, load)
