"""The shapes of the objects, as far as we use them: typed dictionaries, so that JSON stays JSON.

Names and meanings are those of the Kubernetes API and of `ray.io/v1` (KubeRay 1.6). Fields that a shape does
not name may be there; a read object can be changed and written back without losing any.
"""

from typing import Any, Literal, NotRequired, TypedDict

API_VERSION = "ray.io/v1"
CLUSTER_LABEL = "ray.io/cluster"
GROUP_LABEL = "ray.io/group"
NODE_TYPE_LABEL = "ray.io/node-type"


class OwnerReference(TypedDict):
    apiVersion: str
    kind: str
    name: str
    uid: str
    controller: NotRequired[bool]
    blockOwnerDeletion: NotRequired[bool]


class ObjectMeta(TypedDict, total=False):
    name: str
    namespace: str
    uid: str
    resourceVersion: str
    generation: int
    creationTimestamp: str
    deletionTimestamp: str
    labels: dict[str, str]
    annotations: dict[str, str]
    finalizers: list[str]
    ownerReferences: list[OwnerReference]
    managedFields: list[dict[str, Any]]


class KubeObject(TypedDict):
    """What every object has."""

    metadata: ObjectMeta
    apiVersion: NotRequired[str]
    kind: NotRequired[str]


class PodTemplate(TypedDict):
    spec: dict[str, Any]
    metadata: NotRequired[ObjectMeta]


class AuthOptions(TypedDict):
    """`mode` must be said: without the block authentication is off."""

    mode: Literal["token", "disabled"]
    secretName: NotRequired[str]


class AutoscalerOptions(TypedDict, total=False):
    version: Literal["v1", "v2"]
    idleTimeoutSeconds: int
    upscalingMode: Literal["Default", "Aggressive", "Conservative"]
    resources: dict[str, dict[str, str]]
    env: list[dict[str, Any]]
    image: str
    imagePullPolicy: str
    securityContext: dict[str, Any]


class ScaleStrategy(TypedDict, total=False):
    workersToDelete: list[str]


class HeadGroup(TypedDict):
    rayStartParams: dict[str, str]
    template: PodTemplate
    serviceType: NotRequired[str]


class WorkerGroup(TypedDict):
    groupName: str
    replicas: int
    minReplicas: int
    maxReplicas: int
    rayStartParams: dict[str, str]
    template: PodTemplate
    idleTimeoutSeconds: NotRequired[int]
    numOfHosts: NotRequired[int]
    scaleStrategy: NotRequired[ScaleStrategy]


class RayClusterSpec(TypedDict):
    headGroupSpec: HeadGroup
    workerGroupSpecs: NotRequired[list[WorkerGroup]]
    rayVersion: NotRequired[str]
    enableInTreeAutoscaling: NotRequired[bool]
    autoscalerOptions: NotRequired[AutoscalerOptions]
    authOptions: NotRequired[AuthOptions]
    gcsFaultToleranceOptions: NotRequired[dict[str, Any]]
    suspend: NotRequired[bool]


class Condition(TypedDict):
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: NotRequired[str]
    message: NotRequired[str]
    lastTransitionTime: NotRequired[str]


class HeadInfo(TypedDict, total=False):
    podIP: str
    podName: str
    serviceIP: str
    serviceName: str


class RayClusterStatus(TypedDict, total=False):
    state: str  # "ready", "suspended", "failed"; deprecated in favour of conditions
    conditions: list[Condition]
    endpoints: dict[str, str]
    head: HeadInfo
    desiredWorkerReplicas: int
    availableWorkerReplicas: int
    readyWorkerReplicas: int
    observedGeneration: int
    reason: str


class RayCluster(KubeObject):
    spec: RayClusterSpec
    status: NotRequired[RayClusterStatus]


class RayJobSpec(TypedDict):
    entrypoint: str
    submissionMode: NotRequired[Literal["K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"]]
    clusterSelector: NotRequired[dict[str, str]]
    rayClusterSpec: NotRequired[RayClusterSpec]
    runtimeEnvYAML: NotRequired[str]
    metadata: NotRequired[dict[str, str]]
    jobId: NotRequired[str]
    entrypointNumCpus: NotRequired[float]
    entrypointNumGpus: NotRequired[float]
    entrypointResources: NotRequired[str]  # JSON
    activeDeadlineSeconds: NotRequired[int]
    ttlSecondsAfterFinished: NotRequired[int]
    shutdownAfterJobFinishes: NotRequired[bool]


class RayJobStatus(TypedDict, total=False):
    jobId: str
    jobStatus: str  # "", PENDING, RUNNING, STOPPED, SUCCEEDED, FAILED
    jobDeploymentStatus: str  # Initializing, Running, Complete, Failed, …
    rayClusterName: str
    dashboardURL: str
    message: str
    reason: str
    startTime: str
    endTime: str


class RayJob(KubeObject):
    spec: RayJobSpec
    status: NotRequired[RayJobStatus]


class RayServiceSpec(TypedDict):
    rayClusterConfig: RayClusterSpec
    serveConfigV2: NotRequired[str]  # YAML
    upgradeStrategy: NotRequired[dict[str, Any]]
    excludeHeadPodFromServeSvc: NotRequired[bool]


class RayServiceStatus(TypedDict, total=False):
    serviceStatus: str
    numServeEndpoints: int
    conditions: list[Condition]
    activeServiceStatus: dict[str, Any]
    pendingServiceStatus: dict[str, Any]
    observedGeneration: int


class RayService(KubeObject):
    spec: RayServiceSpec
    status: NotRequired[RayServiceStatus]


class Secret(KubeObject):
    """`stringData` when writing, `data` (base64) when reading."""

    data: NotRequired[dict[str, str]]
    stringData: NotRequired[dict[str, str]]
    type: NotRequired[str]


class Pod(KubeObject):
    """Pods are read to say how a cluster does, never written."""

    spec: dict[str, Any]
    status: NotRequired[dict[str, Any]]
