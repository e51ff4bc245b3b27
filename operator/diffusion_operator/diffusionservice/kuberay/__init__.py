"""KubeRay: Ray clusters over several machines, made from a RayService."""
