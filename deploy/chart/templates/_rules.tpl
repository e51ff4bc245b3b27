{{- define "diffusion.rules" -}}
rules:
  # What people write, and what the operator answers.
  - apiGroups: [diffusion.dev]
    resources: [comparisons]
    verbs: [list, watch]
  # A comparison makes services and load tests of its own.
  - apiGroups: [diffusion.dev]
    resources: [diffusionservices, loadtests]
    verbs: [get, list, watch, create, patch, delete]
  - apiGroups: [diffusion.dev]
    resources: [diffusionservices/status, loadtests/status, comparisons/status]
    verbs: [patch]
  # Lets the operator name these resources as owners that block deletion, where that is enforced.
  - apiGroups: [diffusion.dev]
    resources: [diffusionservices/finalizers, loadtests/finalizers, comparisons/finalizers]
    verbs: [update]
  # Children: server-side apply is a patch, which also needs create where the object is new.
  - apiGroups: [""]
    resources: [serviceaccounts, configmaps]
    verbs: [get, list, watch, create, patch]
  # Those that only some services have go when a service asks for them no longer.
  - apiGroups: [""]
    resources: [services, persistentvolumeclaims]
    verbs: [get, list, watch, create, patch, delete]
  - apiGroups: [apps]
    resources: [deployments]
    verbs: [get, list, watch, create, patch, delete]
  # The last good revision of each service.
  - apiGroups: [apps]
    resources: [controllerrevisions]
    verbs: [get, list, watch, create, patch, delete]
  - apiGroups: [batch]
    resources: [jobs]
    verbs: [get, list, watch, create, patch, delete]
  - apiGroups: [rbac.authorization.k8s.io]
    resources: [roles, rolebindings]
    verbs: [get, list, watch, create, patch]
  - apiGroups: [""]
    resources: [pods]
    verbs: [list, watch]
  # The kubelet says in an Event alone why a volume can't be mounted.
  - apiGroups: [""]
    resources: [events]
    verbs: [list, create]
  # Who scales a service by what waits, where the cluster has someone for that.
  - apiGroups: [autoscaling]
    resources: [horizontalpodautoscalers]
    verbs: [get, list, watch, create, patch, delete]
  - apiGroups: [keda.sh]
    resources: [scaledobjects]
    verbs: [get, list, watch, create, patch, delete]
  # KubeRay makes the Ray cluster of rayserve.topology: cluster, where it is installed.
  - apiGroups: [ray.io]
    resources: [rayservices]
    verbs: [get, list, watch, create, patch, delete]
  # Why KubeRay may not make a pod, its RayCluster alone tells in time. KubeRay leaves the replicas
  # of a RayCluster that exists as they are, so that the operator scales it.
  - apiGroups: [ray.io]
    resources: [rayclusters]
    verbs: [get, patch]
  # The way in from outside, and who may come in.
  - apiGroups: [networking.k8s.io]
    resources: [ingresses, networkpolicies]
    verbs: [get, list, watch, create, patch, delete]
  - apiGroups: [gateway.networking.k8s.io]
    resources: [httproutes]
    verbs: [get, list, watch, create, patch, delete]
  - apiGroups: [policy]
    resources: [poddisruptionbudgets]
    verbs: [get, list, watch, create, patch, delete]
{{- end -}}
