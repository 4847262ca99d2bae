"""What an organization's settings say to its runners about functions: limits, logs, zygotes."""

from typing import Any

from backend.settings import Settings


def runner_options(settings: Settings) -> dict[str, Any]:
    """Entries of a session file, with the names of ray_jobs/session.py; a limit of 0 is left out."""
    limits = {
        "processes": settings.FUNCTION_PROCESSES,
        "file_bytes": settings.FUNCTION_FILE_BYTES,
    }
    return {
        "limits": {name: value for name, value in limits.items() if value},
        "shared_memory_bytes": settings.FUNCTION_SHARED_MEMORY_BYTES,
        "output_bytes": settings.FUNCTION_OUTPUT_BYTES,
        "disk_reserve_bytes": settings.FUNCTION_DISK_RESERVE_BYTES,
        "log_head_bytes": settings.FUNCTION_LOG_HEAD_BYTES,
        "log_tail_bytes": settings.FUNCTION_LOG_TAIL_BYTES,
        "zygotes": settings.ZYGOTES,
        "zygotes_memory_bytes": settings.ZYGOTES_MEMORY_BYTES,
        "zygotes_idle_s": settings.ZYGOTES_IDLE_S,
    }
