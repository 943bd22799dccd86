"""What passes before the first generation of the quickstart, part by part: `python -m benchmarks.startup` prints JSON.

Imports are measured where they happen, so they are not at the top.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

CONFIG = Path("configs/quickstart.yaml")


class Quiet:
    """A listener that a trainer may talk to."""

    def phase(self, generation: int, name: str, done: int, total: int) -> None:
        """Nobody watches."""

    def generation(self, *told: object) -> None:
        """There is none yet."""

    def warn(self, message: str) -> None:
        sys.stderr.write(f"{message}\n")


class Stopwatch:
    """Seconds from mark to mark."""

    def __init__(self) -> None:
        self._last, self.seconds = time.monotonic(), dict[str, float]()

    def mark(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = now - self._last
        self._last = now


def main() -> None:
    watch = Stopwatch()
    import torch  # noqa: F401

    watch.mark("import torch")
    import ray  # noqa: F401

    watch.mark("import ray")
    import eigen2.cli.train  # noqa: F401
    from eigen2.config import load_config
    from eigen2.market.build import load_market
    from eigen2.training.cluster import connect
    from eigen2.training.run_folder import RunFolder
    from eigen2.training.runtime import RayRuntime
    from eigen2.training.session import fit_to_cluster
    from eigen2.training.trainer import Trainer

    watch.mark("import eigen2")
    config = load_config(CONFIG, ["wandb_mode=disabled"])
    market, _ = load_market(config)
    watch.mark("data")
    connect(config.resources)
    watch.mark("start Ray")
    with tempfile.TemporaryDirectory() as name:
        Trainer(config, market, RunFolder(Path(name)), RayRuntime(), lambda: fit_to_cluster(config), Quiet()).start()
        watch.mark("start the members")
    sys.stdout.write(json.dumps(watch.seconds) + "\n")


if __name__ == "__main__":
    main()
