"""DiffusionService: reconciler, observed pods, status, child specs, rollout, scaling, KubeRay."""
