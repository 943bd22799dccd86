"""Members, the replay buffer and whole nodes die or hang at each phase of a generation; the numbers stay the same."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from eigen2.config import ResourcesConfig, dump_config
from eigen2.errors import RunError
from eigen2.training.checkpoint import rewind
from eigen2.training.cluster import connect
from eigen2.training.member import Member
from eigen2.training.resume import Resume
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import RayRuntime, Share
from eigen2.training.session import Session
from eigen2.training.trainer import Trainer
from tests.training.small import MARKET, assert_same_run, make_session, run, small_config

SIZE: dict[str, Any] = {"population_size": 3, "num_generations": 3, "wait_s": 240.0}
HASTY = {"min_patience_s": 5.0, "patience": 2.0}  # on a busy machine others may seem to hang as well
SHARE = Share(cpus=0.5)
VAULT = None  # has no post; members have 0 to 2, the replay buffer 3
PHASES = ("play", "train", "judge", "breed", "checkpoint")


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    connect(ResourcesConfig(num_cpus=2, dashboard=False))
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run(tmp_path_factory.mktemp("undisturbed"), **SIZE)


class Saboteur:
    """A listener that hands on all it hears, and strikes once, as a phase of generation 1 begins."""

    def __init__(self, session: Session, phase: str, strike: Callable[[], None]) -> None:
        self._session, self._phase, self._strike = session, phase, strike
        self.struck = False
        self.warnings: list[str] = []
        self.generation = session.generation

    def phase(self, generation: int, name: str, done: int, total: int) -> None:
        if (generation, name, self.struck) == (1, self._phase, False):
            self.struck = True
            self._strike()

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def process_of(trainer: Trainer, post: int | None) -> int:
    """The process id of a member, of the replay buffer, whose post is the last, or of the vault, which has none."""
    part: Any = trainer._vault if post is VAULT else trainer._crew._posts[post].part
    handle = part.handle
    return int(ray.get(handle.__ray_call__.remote(lambda _: os.getpid()), timeout=240))


def sabotaged(
    path: Path, phase: str, victims: tuple[int | None, ...], how: int, share: Share = SHARE, **changed: Any
) -> tuple[RunFolder, Saboteur]:
    """A run whose victims get a signal as a phase begins."""
    config, folder = small_config(**{**SIZE, **changed}), RunFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    processes: list[int] = []
    session = make_session(config, folder, 0)
    saboteur = Saboteur(session, phase, lambda: [os.kill(process, how) for process in processes] and None)
    trainer = Trainer(config, MARKET, folder, RayRuntime(), lambda: share, saboteur)
    trainer.start()
    processes.extend(process_of(trainer, victim) for victim in victims)
    trainer.run()
    assert saboteur.struck == (phase in PHASES)
    return folder, saboteur


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("victims", [(1,), (0, 2), (3,)], ids=["a member", "two members", "the replay buffer"])
def test_killed_at_a_phase(tmp_path: Path, undisturbed: RunFolder, phase: str, victims: tuple[int, ...]) -> None:
    folder, saboteur = sabotaged(tmp_path, phase, victims, signal.SIGKILL)
    assert_same_run(folder, undisturbed)
    told = {message.split(" was lost")[0] for message in saboteur.warnings}
    assert told == {"the replay buffer" if victim == 3 else f"member {victim}" for victim in victims}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("victim", [1, 2], ids=["with another", "alone"])
def test_a_process_of_several_members_is_killed(
    tmp_path: Path, undisturbed: RunFolder, phase: str, victim: int
) -> None:
    """Of members 0 to 2 two live together; the third has a process of its own, with a free place."""
    share = Share(cpus=0.5, together=2)
    folder, saboteur = sabotaged(tmp_path, phase, (victim,), signal.SIGKILL, share)
    assert_same_run(folder, undisturbed)
    assert any(f"member {victim} was lost" in message for message in saboteur.warnings)


def test_killed_before_anyone_stands(tmp_path: Path, undisturbed: RunFolder) -> None:
    config, folder = small_config(**SIZE), RunFolder(tmp_path)
    saboteur = Saboteur(make_session(config, folder, 0), "none", lambda: None)
    trainer = Trainer(config, MARKET, folder, RayRuntime(), lambda: SHARE, saboteur)
    for victim in (1, 3):
        os.kill(process_of(trainer, victim), signal.SIGKILL)
    trainer.start()
    trainer.run()
    assert_same_run(folder, undisturbed)
    assert {message.split(" in phase ")[0] for message in saboteur.warnings} == {
        "member 1 was lost",
        "the replay buffer was lost",
    }


@pytest.mark.parametrize("phase", ["play", "train", "judge", "breed"])
def test_a_member_that_hangs_counts_as_dead(tmp_path: Path, undisturbed: RunFolder, phase: str) -> None:
    folder, saboteur = sabotaged(tmp_path, phase, (1,), signal.SIGSTOP, **HASTY)
    assert_same_run(folder, undisturbed)
    assert any(message.startswith("member 1 was lost") for message in saboteur.warnings)


@pytest.mark.parametrize("phase", ["train", "breed"])
def test_a_replay_buffer_that_hangs_counts_as_dead(tmp_path: Path, undisturbed: RunFolder, phase: str) -> None:
    """As a phase begins that waits for it, or one after which it takes transitions."""
    folder, saboteur = sabotaged(tmp_path, phase, (3,), signal.SIGSTOP, **HASTY)
    assert_same_run(folder, undisturbed)
    assert any(message.startswith("the replay buffer was lost") for message in saboteur.warnings)


@pytest.mark.parametrize("phase", PHASES)
def test_without_the_vault_a_run_ends_and_goes_on_where_it_was(
    tmp_path: Path, undisturbed: RunFolder, phase: str
) -> None:
    with pytest.raises(RunError, match=r"the vault (was lost|failed)"):
        sabotaged(tmp_path, phase, (VAULT,), signal.SIGKILL)
    resumed = Resume.find(str(sealed(tmp_path)))
    assert resumed.generation == 1
    rewind(resumed.folder.checkpoints, 1)
    assert_same_run(run(tmp_path, generation=1, **SIZE), undisturbed)


def test_a_vault_that_hangs_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^the vault was lost in phase play: it gave no answer within 5 s$"):
        sabotaged(tmp_path, "play", (VAULT,), signal.SIGSTOP, **HASTY)


def sealed(path: Path) -> Path:
    """A run folder that has its config, as every run that was started by command."""
    (path / "config.yaml").write_text(dump_config(small_config(**SIZE)), encoding="utf-8")
    return path


class Poisoned(Member):
    """A member that fails to learn, however often it is made."""

    def train(self, generation: int, sample: Any) -> dict[str, float]:
        raise ArithmeticError("poison")


def test_a_poisoned_member_ends_the_run_with_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eigen2.training.trainer.Member", Poisoned)
    with pytest.raises(RunError, match=r"failed 3 times to train: ArithmeticError: poison"):
        run(tmp_path, runtime=RayRuntime(), share=SHARE, **{**SIZE, "population_size": 1})
