"""What a cut of power may have left half written: unpacked inputs and images, which nobody flushes.

They appear by a rename, so a process that dies leaves whole ones or none; a machine that loses its power may
keep the names and forget the bytes. What they are made of (layers, archives) was flushed, so after each boot
they are made anew.
"""

from pathlib import Path

import structlog
from sqlalchemy import text

from backend.engine.images.unpacking import remove_tree
from backend.kit.database import Database
from backend.ports.storage.spooling import sync

log = structlog.get_logger()
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MARK = "boot"
UNFLUSHED = ("cache/data_samples", "cache/openers", "images/unpacked")
_UNPREPARE = text("""
    UPDATE work SET state = 'new', offer = NULL, lock_token = NULL, leased_until = NULL, session = NULL,
                    changed = now()
    WHERE kind = 'task' AND state IN ('preparing', 'ready', 'leased')
""")
_FORGET_AHEAD = text("DELETE FROM task_ahead")


def after_a_boot(media_root: Path, database: Database, boot: Path = BOOT_ID) -> bool:
    """Forget what was unpacked before this boot, and leases that name it; False when there was none.

    For an organization whose runners are on this machine: none of them outlived it. To be called before any
    loop begins.
    """
    mark = media_root / "cache" / MARK
    try:
        now = boot.read_text("ascii").strip()
        before = mark.read_text("ascii") if mark.exists() else ""
    except OSError:
        return False
    if now == before:
        return False
    for name in UNFLUSHED:
        folder = media_root / name
        for path in folder.iterdir() if folder.is_dir() else ():
            remove_tree(path)
    with database.transaction() as session:
        connection = session.connection()
        freed = connection.execute(_UNPREPARE).rowcount
        connection.execute(_FORGET_AHEAD)
    mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark.write_text(now, "ascii")
    sync(mark)
    log.info("booted", tasks_to_prepare=freed)
    return True
