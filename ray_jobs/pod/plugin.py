"""The function image as a Ray runtime environment: `runtime_env={"substra_image": "<repository>@sha256:…"}`.

Ray loads it in the runtime environment agent of each worker (RAY_RUNTIME_ENV_PLUGINS, see `SETTING`). Making
the environment means to wait until the pod's function container answers, and to check that it is of that image:
so the job fails with a cause when the container cannot start, and the dashboard shows the image of each job.
"""

import asyncio
import json
import logging
import os
import re
from pathlib import Path
from typing import Any

from ray._private.runtime_env.plugin import RuntimeEnvPlugin

from ray_jobs.pod.agent_client import AGENT_USER, Agent, NoAgent
from ray_jobs.pod.session import BASE

FIELD = "substra_image"
SETTING = json.dumps([{"class": "ray_jobs.pod.plugin.SubstraImage"}])
WAIT_VARIABLE = "SUBSTRA_AGENT_WAIT_S"
_REFERENCE = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")


class SubstraImage(RuntimeEnvPlugin):  # type: ignore[misc]
    """Waits for the agent; nothing is installed, so nothing is ever deleted."""

    name = FIELD

    @staticmethod
    def validate(runtime_env_dict: dict[str, Any]) -> None:
        """Raises ValueError unless the image is named by its digest."""
        image = runtime_env_dict.get(FIELD)
        if image is not None and not _REFERENCE.fullmatch(str(image)):
            raise ValueError(f"{FIELD} is an image with its digest")

    async def create(
        self, uri: str | None, runtime_env: dict[str, Any], context: Any, logger: logging.Logger
    ) -> float:
        """Wait for the image's container. Raises RuntimeError, which fails the job with this text."""
        image = str(runtime_env[FIELD])
        agent = Agent(BASE / "socket/agent.sock", AGENT_USER)
        wait_s = float(os.environ.get(WAIT_VARIABLE, "120"))
        try:
            hello = await asyncio.to_thread(agent.wait, wait_s)
        except NoAgent as error:
            raise RuntimeError(f"the function's container does not answer: {error}") from error
        if hello.image != image:
            raise RuntimeError(f"this pod's function image is {hello.image}, not {image}")
        logger.info("function image %s answers in %s", image, Path(hello.workdir))
        return 0
