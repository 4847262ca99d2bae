"""The compute pool on KubeRay: groups of function images, sessions as Ray Jobs, pods for one plan each.

`turn` compares what is wanted with what is there and does the steps of `cluster.planning`. Nothing is decided
in memory alone: groups, pods and jobs are read from the cluster at each turn, so that a new process goes on
where another one died. Only the order of last use is lost then: the order of names takes its place.
"""

import base64
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from uuid import uuid4

import structlog

from backend.engine.compute.cluster.causes import Cause, Verdict, cause
from backend.engine.compute.cluster.jobs import Job, Jobs, JobsUnavailable
from backend.engine.compute.cluster.planning import (
    Demand,
    Group,
    Phase,
    Session,
    Step,
    plan_groups,
    plan_sessions,
)
from backend.engine.compute.cluster.template import (
    FunctionImage,
    PodShape,
    group_of,
    secret_name,
    session_token,
)
from kuberay.errors import KubeError
from kuberay.groups import WorkerGroups
from kuberay.resources import PODS, SECRETS, Resource
from kuberay.shapes import CLUSTER_LABEL, GROUP_LABEL, NODE_TYPE_LABEL, Pod, Secret
from kuberay.transport import Connection

log = structlog.get_logger()
PREFIX = "fn-"
AUTOSCALER = "autoscaler"  # KubeRay's name of the head's second container
JOB_PREFIX = "substra-"
SESSION, PLAN, GROUP = "substra_session", "substra_plan", "substra_group"


class Work(Protocol):
    """What the pool is told, and whom it tells. Implemented over the work queue."""

    def demands(self) -> Sequence[Demand]:
        """Tasks that wait for, or run in, pods; by plan and group."""
        ...

    def images(self) -> Mapping[str, FunctionImage]:
        """Images of functions that are READY, by group, the newest last."""
        ...

    def opened(self, session: str, token: str, plan: str, group: str) -> None:
        """A session may now ask for leases of this plan. Called before its job is submitted."""
        ...

    def ended(self, session: str, found: Cause | None) -> None:
        """A session is over: its lease, if it has one, is free. `found` says why, if that is known."""
        ...

    def waits(self, group: str, found: Cause | None) -> None:
        """Why pods of the group do not come, to be shown to users; None when nothing is wrong."""
        ...


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Values of the chart."""

    namespace: str
    cluster: str
    groups: int = 20  # at once
    pods: int = 4  # of one group
    warm: int = 0  # pods of each group that served nobody
    idle_timeout_s: int = 60
    session: Mapping[str, Any] = field(
        default_factory=dict
    )  # of ray_jobs/pod/session.py: url, limits…


class KubeRayPool:
    """One organization's pool. For one thread, behind a loop lease (rule 10)."""

    def __init__(
        self,
        connection: Connection,
        jobs: Jobs,
        work: Work,
        shape: PodShape,
        options: PoolOptions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._groups = WorkerGroups(connection, options.namespace, options.cluster)
        self._pods = Resource(connection, PODS, options.namespace)
        self._secrets = Resource(connection, SECRETS, options.namespace)
        self._jobs = jobs
        self._work = work
        self._shape = shape
        self._options = options
        self._clock = clock
        self._used: dict[str, float] = {}
        self._keys: dict[str, bytes] = {}
        self._lost: dict[str, float] = {}  # sessions that were told to be over before Ray knew

    def turn(self) -> bool:
        """One comparison and its steps. False: there is nothing more to do at once.

        Raises:
            KubeError, JobsUnavailable: the cluster is out of reach; the next turn begins anew.
        """
        demands, images = list(self._work.demands()), self._work.images()
        pods = self._read_pods()
        jobs = self._jobs.all()
        sessions = [self._session(job, pods) for job in jobs if SESSION in job.metadata]
        there = {_address(pod) for pod in pods}
        gone = {job.metadata.get(SESSION) for job in jobs if job.host and job.host not in there}
        sessions = self._without_lost(sessions, pods, gone)
        groups = self._read_groups(pods)
        now = self._clock()
        for demand in demands:
            self._used[demand.group] = now
        steps = self._group_steps(demands, images, groups, sessions)
        maximum = {group.name: group.maximum for group in groups}
        steps += plan_sessions(demands, sessions, maximum)
        steps += self._look_at(pods, sessions, {demand.group for demand in demands})
        stuck = {step.session for step in steps if not self._may_do(step, images)}
        for step in steps:
            if step.what == "forget" and step.session not in stuck:
                self._do(step, images)
        self._forget_ghosts(jobs)
        return any(step.what == "append" for step in steps)

    def _forget_ghosts(self, jobs: Sequence[Job]) -> None:
        """Ray writes an empty record anew when a job is forgotten just before its monitor saw it end."""
        for job in jobs:
            if job.id.startswith(JOB_PREFIX) and not job.metadata and job.phase is Phase.ENDED:
                self._jobs.forget(job.id)

    def _group_steps(
        self,
        demands: Sequence[Demand],
        images: Mapping[str, FunctionImage],
        groups: Sequence[Group],
        sessions: Sequence[Session],
    ) -> list[Step]:
        busy: dict[str, int] = {}
        for session in sessions:
            if session.phase is not Phase.ENDED:
                busy[session.group] = busy.get(session.group, 0) + 1
        needed = {demand.group for demand in demands if demand.group in images}
        return plan_groups(
            needed,
            reversed(list(images)),
            groups,
            busy,
            most=self._options.groups,
            maximum=self._options.pods,
            warm=self._options.warm,
        )

    def _read_pods(self) -> list[Pod]:
        """The workers. A head whose autoscaler ended is deleted: KubeRay never starts its containers again,
        and the operator makes another head in its place.
        """
        found = self._pods.all({CLUSTER_LABEL: self._options.cluster})
        for pod in found:
            if _lacks_autoscaler(pod):
                log.warning("head_without_autoscaler", pod=pod["metadata"]["name"])
                self._pods.delete(pod["metadata"]["name"])
        return [pod for pod in found if _group(pod).startswith(PREFIX)]

    def _read_groups(self, pods: Sequence[Pod]) -> list[Group]:
        counts: dict[str, int] = {}
        for pod in pods:
            counts[_group(pod)] = counts.get(_group(pod), 0) + 1
        return [
            Group(
                name=spec["groupName"],
                maximum=spec.get("maxReplicas", 0),
                minimum=spec.get("minReplicas", 0),
                pods=counts.get(spec["groupName"], 0),
                used=self._used.get(spec["groupName"], 0.0),
            )
            for spec in self._groups.all()
            if spec["groupName"].startswith(PREFIX)
        ]

    def _session(self, job: Job, pods: Sequence[Pod]) -> Session:
        host = job.host
        pod = next((p for p in pods if host and _address(p) == host), None)
        return Session(
            id=job.metadata[SESSION],
            plan=job.metadata.get(PLAN, ""),
            group=job.metadata.get(GROUP, ""),
            phase=job.phase,
            pod=pod["metadata"]["name"] if pod is not None else None,
        )

    def _without_lost(
        self, sessions: Sequence[Session], pods: Sequence[Pod], gone: set[str | None]
    ) -> list[Session]:
        """Sessions whose pod is of no use count as ended at once: Ray notices a dead node much later.

        `gone` are sessions whose pod is not there any more. A pod that is being deleted keeps its place, where
        the operator puts another one.
        """
        causes = {pod["metadata"]["name"]: (pod, cause(pod)) for pod in pods}
        found: list[Session] = []
        for session in sessions:
            pod, why = causes.get(session.pod or "", (None, None))
            if session.id in gone or session.id in self._lost:
                why = why or cause(None)
            if why is None or why.verdict is Verdict.WAIT or session.phase is Phase.ENDED:
                found.append(session)
                continue
            if session.id not in self._lost:
                log.warning("pod_lost", pod=session.pod, session=session.id, cause=why.text)
                self._work.ended(session.id, why)
                self._lost[session.id] = self._clock()
                self._jobs.stop(JOB_PREFIX + session.id)
            leaving = pod is not None and "deletionTimestamp" in pod["metadata"]
            name = None if leaving else session.pod
            found.append(replace(session, phase=Phase.ENDED, pod=name))
        return found

    def _look_at(
        self, pods: Sequence[Pod], sessions: Sequence[Session], needed: set[str]
    ) -> list[Step]:
        """Say why pods do not come; retire those that are of no use and have no session."""
        serving = {session.pod for session in sessions if session.pod}
        steps: list[Step] = []
        waiting: dict[str, Cause] = {}
        for pod in pods:
            found, name, group = cause(pod), pod["metadata"]["name"], _group(pod)
            if found is None:
                continue
            if found.verdict is Verdict.WAIT:
                waiting[group] = found
            elif "deletionTimestamp" not in pod["metadata"] and name not in serving:
                steps.append(Step("retire", group, pod=name))
        for group in needed:
            self._work.waits(group, waiting.get(group))
        return steps

    def _may_do(self, step: Step, images: Mapping[str, FunctionImage]) -> bool:
        """One step; False where it did not succeed, which is for the next turn. Forgetting comes last."""
        return step.what == "forget" or self._do(step, images)

    def _do(self, step: Step, images: Mapping[str, FunctionImage]) -> bool:
        try:
            if step.what == "append":
                self._append(images[step.group], step.number)
            elif step.what == "bound":
                self._groups.bound(step.group, step.number, self._options.pods)
            elif step.what == "evict":
                self._evict(step.group)
            elif step.what == "open":
                self._open(images[step.group], step.plan)
            elif step.what == "retire":
                self._groups.retire(step.group, step.pod)
            elif step.what == "stop":
                self._jobs.stop(JOB_PREFIX + step.session)
            elif step.what == "forget":
                if step.session not in self._lost:
                    self._work.ended(step.session, None)
                if self._jobs.forget(JOB_PREFIX + step.session):
                    self._lost.pop(step.session, None)
        except (KubeError, JobsUnavailable) as error:
            log.warning(
                "pool_step_failed", step=step.what, group=step.group, error=str(error)[:300]
            )
            return False
        return True

    def _append(self, image: FunctionImage, maximum: int) -> None:
        self._key(image)
        group = group_of(
            image,
            self._shape,
            cluster=self._options.cluster,
            maximum=maximum,
            warm=min(self._options.warm, maximum),
            idle_timeout_s=self._options.idle_timeout_s,
        )
        self._groups.append(group)
        self._used.setdefault(image.group, self._clock())
        log.info("group_appended", group=image.group, image=image.reference)

    def _evict(self, group: str) -> None:
        """Begin or go on; the turn in which its pods are gone and the operator knows it ends it."""
        if not self._groups.empty(group) or not self._groups.remove(group):
            return
        self._secrets.delete(secret_name(self._options.cluster, group))
        self._keys.pop(group, None)
        log.info("group_evicted", group=group)

    def _open(self, image: FunctionImage, plan: str) -> None:
        session = str(uuid4())
        self._work.opened(session, session_token(self._key(image), session), plan, image.group)
        try:
            self._jobs.submit(
                JOB_PREFIX + session,
                f"python -m ray_jobs.pod {session} {plan}",
                resources={image.group: 1},
                runtime_env={"substra_image": image.reference},
                metadata={SESSION: session, PLAN: plan, GROUP: image.group},
            )
        except JobsUnavailable:
            self._work.ended(session, None)
            raise
        log.info("session_opened", session=session, plan=plan, group=image.group)

    def _key(self, image: FunctionImage) -> bytes:
        """The group's key: from its Secret, which is made when it is missing."""
        if image.group in self._keys:
            return self._keys[image.group]
        name = secret_name(self._options.cluster, image.group)
        secret = self._secrets.find(name)
        if secret is None:
            options = json.dumps({**self._options.session, "image": image.reference})
            body: Secret = {
                "metadata": {
                    "name": name,
                    "labels": {CLUSTER_LABEL: self._options.cluster},
                    "ownerReferences": [self._groups.owner()],
                },
                "stringData": {"key": secrets.token_hex(32), "options.json": options},
            }
            secret = self._secrets.create(body)
        self._keys[image.group] = _key_in(secret)
        return self._keys[image.group]


def _group(pod: Pod) -> str:
    return (pod["metadata"].get("labels") or {}).get(GROUP_LABEL, "")


def _lacks_autoscaler(pod: Pod) -> bool:
    if (pod["metadata"].get("labels") or {}).get(NODE_TYPE_LABEL) != "head":
        return False
    states: list[dict[str, Any]] = (pod.get("status") or {}).get("containerStatuses") or []
    ended = any(
        each.get("name") == AUTOSCALER and (each.get("state") or {}).get("terminated")
        for each in states
    )
    return ended and "deletionTimestamp" not in pod["metadata"]


def _address(pod: Pod) -> str | None:
    return (pod.get("status") or {}).get("podIP")


def _key_in(secret: Secret) -> bytes:
    return base64.b64decode(secret["data"]["key"])
