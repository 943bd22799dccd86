"""What a run holds: memory of its processes, objects in the object store."""

import os
import time
from pathlib import Path

import ray
from ray._private.internal_api import get_memory_info_reply, get_state_from_address

from eigen2.training.trainer import Trainer
from tests.faults.test_losses import process_of

STILL_S = 3.0
PAGE = os.sysconf("SC_PAGE_SIZE")


def objects_held() -> tuple[int, int]:
    """(objects in the object store of an idle run, their bytes): Ray frees what nobody holds once a second."""
    before, now = None, _objects()
    while now != before:
        time.sleep(STILL_S)
        before, now = now, _objects()
    return now


def _objects() -> tuple[int, int]:
    stats = get_memory_info_reply(get_state_from_address(ray.get_runtime_context().gcs_address)).store_stats
    return stats.num_local_objects, stats.object_store_bytes_used


def memory_held(trainer: Trainer, members: int) -> dict[str, float]:
    """Resident memory of the driver, the first member, the replay buffer and the vault, MB."""
    posts = {"member": 0, "replay": members, "vault": None}
    processes = {"driver": os.getpid()} | {name: process_of(trainer, post) for name, post in posts.items()}
    return {name: _resident_mb(process) for name, process in processes.items()}


def _resident_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return round(pages * PAGE / 1e6, 1)
