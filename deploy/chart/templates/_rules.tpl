{{- define "diffusion.rules" -}}
rules:
  # The resources that people write, and their status, which the operator writes.
  - apiGroups: [diffusion.dev]
    resources: [comparisons]
    verbs: [get, list, watch]
  # A comparison creates its own services and load tests.
  - apiGroups: [diffusion.dev]
    resources: [diffusionservices, loadtests]
    verbs: [get, list, watch, create, patch, delete]
  - apiGroups: [diffusion.dev]
    resources: [diffusionservices/status, loadtests/status, comparisons/status]
    verbs: [patch]
  # The operator may set these resources as owners that block deletion, if the cluster enforces this permission.
  - apiGroups: [diffusion.dev]
    resources: [diffusionservices/finalizers, loadtests/finalizers, comparisons/finalizers]
    verbs: [update]
  # Children: server-side apply is a patch, which also needs create if the object is new. Who takes over an orphan must
  # be allowed to delete it, if the cluster enforces this permission.
  - apiGroups: [""]
    resources: [serviceaccounts, configmaps]
    verbs: [get, list, watch, create, patch, delete]
  # Optional children are deleted when a service no longer needs them.
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
    verbs: [get, list, watch, create, patch, delete]
  - apiGroups: [""]
    resources: [pods]
    verbs: [list, watch]
  # The pods that a Service leads to, without which nothing is Ready.
  - apiGroups: [discovery.k8s.io]
    resources: [endpointslices]
    verbs: [list, watch]
  # Only the kubelet's Event says why a volume can't be mounted.
  - apiGroups: [""]
    resources: [events]
    verbs: [list, create]
  # Autoscalers that scale a service by its waiting requests, if the cluster has them.
  - apiGroups: [autoscaling]
    resources: [horizontalpodautoscalers]
    verbs: [get, list, watch, create, patch, delete]
  - apiGroups: [keda.sh]
    resources: [scaledobjects]
    verbs: [get, list, watch, create, patch, delete]
  # KubeRay creates the Ray cluster of rayserve.topology: cluster, if it is installed.
  - apiGroups: [ray.io]
    resources: [rayservices]
    verbs: [get, list, watch, create, patch, delete]
  # Only the RayCluster says in time why KubeRay may not create a pod. KubeRay leaves the replicas of
  # an existing RayCluster as they are, so the operator scales it.
  - apiGroups: [ray.io]
    resources: [rayclusters]
    verbs: [get, patch]
  # Access from outside the cluster, and the peers that may connect.
  - apiGroups: [networking.k8s.io]
    resources: [ingresses, networkpolicies]
    verbs: [get, list, watch, create, patch, delete]
  - apiGroups: [gateway.networking.k8s.io]
    resources: [httproutes]
    verbs: [get, list, watch, create, patch, delete]
  # The health check and the timeout behind a Gateway of GKE.
  - apiGroups: [networking.gke.io]
    resources: [healthcheckpolicies, gcpbackendpolicies]
    verbs: [get, list, watch, create, patch, delete]
  - apiGroups: [policy]
    resources: [poddisruptionbudgets]
    verbs: [get, list, watch, create, patch, delete]
  # Claims: those of other releases, and with watchNamespaces this one's on each of them.
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    verbs: [list{{ if .Values.watchNamespaces }}, create{{ end }}]
  {{- if .Values.watchNamespaces }}
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    resourceNames: [{{ include "diffusion.claim" . }}]
    verbs: [patch]
  {{- end }}
{{- end -}}
