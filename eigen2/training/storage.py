"""A run's copy on remote storage: uploaded in the background, complete or absent as on the disk.

Under `URI/<run's name>/` lie the run's files and its checkpoints. Anything pyarrow.fs reaches will do: file://, s3://,
gs://.
"""

import logging
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eigen2.errors import ConfigError, RunError
from eigen2.files import make_folder

MANIFEST = "manifest.json"  # the file that makes a folder a checkpoint
CHECKPOINTS = "checkpoints"
RUN_FILE = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]*|checkpoints/gen_[0-9]{6,12}/[A-Za-z0-9_][A-Za-z0-9._-]*)")
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
CHUNK = 4 * 2**20
RUN_ID = "run_id"  # tells runs of one name apart
ASK_S = 20.0  # for a first look at a storage

logger = logging.getLogger("eigen2")


def open_storage(uri: str) -> tuple[Any, str]:
    """The pyarrow filesystem of a URI, and the path within it. Raises ConfigError if no filesystem has such URIs."""
    from pyarrow import ArrowException  # not above: it takes a while, which a run without storage need not wait
    from pyarrow.fs import FileSystem

    try:
        system, path = FileSystem.from_uri(uri)
    except (ArrowException, OSError) as error:
        raise ConfigError(f"checkpoint.storage: {uri} can't be used: {_first_line(error)}") from error
    return system, path.rstrip("/")


class Mirror:
    """Uploads a run folder's files and checkpoints from a thread of its own, again and again until it succeeds."""

    def __init__(
        self,
        uri: str,
        run: Path,
        first_wait_s: float = FIRST_WAIT_S,
        open_uri: Callable[[str], tuple[Any, str]] = open_storage,
    ) -> None:
        """uri: storage under which the run is kept; run: its folder; first_wait_s: before the first repetition."""
        self._uri, self._run, self._first_wait_s, self._open_uri = uri, run, first_wait_s, open_uri
        self._remote: _Remote | None = None
        self._changed, self._hurry = threading.Condition(), threading.Event()
        self._kept: list[str] | None = None
        self._asked = self._done = 0
        self._failure: str | None = None
        self._told: str | None = None
        threading.Thread(target=self._work, name="storage", daemon=True).start()

    def keep(self, checkpoints: Sequence[str]) -> None:
        """From now on the storage is to hold these checkpoints, by folder name, oldest first. Returns at once."""
        with self._changed:
            self._kept = list(checkpoints)
            self._ask()

    def trouble(self) -> str | None:
        """Why the last attempt failed; told once, and again when the storage came back and failed anew."""
        with self._changed:
            return self._tell(self._failure)

    def flush(self, deadline_s: float) -> str | None:
        """Upload everything as it is now, for at most `deadline_s` seconds; what could not be uploaded, told once."""
        with self._changed:
            asked = self._ask()
            self._hurry.set()
            if self._changed.wait_for(lambda: self._done >= asked, timeout=deadline_s):
                return None
            reason = self._failure or f"storage {self._uri}: not done within {deadline_s:g} s"
            return self._tell(f"{reason}; not all was uploaded, the run lies whole in {self._run}")

    def _ask(self) -> int:
        self._asked += 1
        self._changed.notify_all()
        return self._asked

    def _tell(self, message: str | None) -> str | None:
        if message is None or message == self._told:
            return None
        self._told = message
        return message

    def _work(self) -> None:
        wait_s = self._first_wait_s
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._done < self._asked)
                asked, kept = self._asked, self._kept
            self._hurry.clear()
            try:
                self._bring_up(kept)
            except Exception as error:  # noqa: BLE001 - whatever a storage raises is told, and tried again
                self._failed(error)
                hurried = self._hurry.wait(wait_s)
                wait_s = self._first_wait_s if hurried else min(2 * wait_s, LONGEST_WAIT_S)
            else:
                wait_s = self._first_wait_s
                self._succeeded(asked)

    def _failed(self, error: Exception) -> None:
        message = f"storage {self._uri}: {_first_line(error)}"
        with self._changed:
            if self._failure is None:
                logger.warning("%s; training goes on, the upload is tried again", message)
            self._failure = message

    def _succeeded(self, asked: int) -> None:
        with self._changed:
            self._done = asked
            self._failure = self._told = None
            self._changed.notify_all()

    def _bring_up(self, kept: list[str] | None) -> None:
        """Make the storage hold what the folder holds: new checkpoints first, then without the old ones."""
        if self._remote is None:
            system, base = self._open_uri(self._uri)
            self._remote = _Remote(system, f"{base}/{self._run.name}")
        # each time anew: of two runs that begin at once, the one that wrote its id last goes on
        require_own(self._remote.run_id(), _content(self._run / RUN_ID), f"{self._uri}/{self._run.name}")
        for path in sorted(self._run.iterdir(), key=lambda path: (path.name != RUN_ID, path.name)):
            if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                self._remote.put_whole(path.read_bytes(), path.name)
        if kept is not None:
            for name in reversed(kept):
                self._upload_checkpoint(self._remote, name)
            for name in set(self._remote.checkpoints()) - set(kept):
                self._remote.remove_checkpoint(name)

    def _upload_checkpoint(self, remote: "_Remote", name: str) -> None:
        folder = self._run / CHECKPOINTS / name
        manifest = _content(folder / MANIFEST)
        if manifest is None or remote.manifest(name) == manifest:
            return
        remote.remove_checkpoint(name)
        try:
            for path in sorted(folder.iterdir()):
                if path.name != MANIFEST:
                    remote.put(path, f"{CHECKPOINTS}/{name}/{path.name}")
        except FileNotFoundError:
            if _content(folder / MANIFEST) == manifest:
                raise
        # pruned or written anew meanwhile: the next round has what is right then
        if _content(folder / MANIFEST) == manifest:
            remote.put_whole(manifest, f"{CHECKPOINTS}/{name}/{MANIFEST}")


class _Remote:
    """A run's place on a storage."""

    def __init__(self, system: Any, base: str) -> None:
        self._system, self._base = system, base
        self._folders: set[str] = set()

    def put(self, path: Path, name: str) -> None:
        """Upload a file; after a failure a part of it may be there."""
        target = self._target(name)
        with path.open("rb") as source, self._system.open_output_stream(target) as sink:
            shutil.copyfileobj(source, sink, CHUNK)

    def put_whole(self, content: bytes, name: str) -> None:
        """Upload a small file: whole, or not at all."""
        target = self._target(name)
        with self._system.open_output_stream(f"{target}.partial") as sink:
            sink.write(content)
        self._system.move(f"{target}.partial", target)

    def manifest(self, checkpoint: str) -> bytes | None:
        """The manifest of a checkpoint, None where there is none."""
        path = f"{self._base}/{CHECKPOINTS}/{checkpoint}/{MANIFEST}"
        return _read(self._system, path) if self._system.get_file_info(path).is_file else None

    def run_id(self) -> bytes | None:
        """The id of the run that lies here; None where none does."""
        path = f"{self._base}/{RUN_ID}"
        return _read(self._system, path) if self._system.get_file_info(path).is_file else None

    def checkpoints(self) -> list[str]:
        """Folder names of the checkpoints, whole or not."""
        return [info.base_name for info in _listed(self._system, f"{self._base}/{CHECKPOINTS}", recursive=False)]

    def remove_checkpoint(self, name: str) -> None:
        """Remove a checkpoint if it is there; without its manifest, which goes first, it is none."""
        folder = f"{self._base}/{CHECKPOINTS}/{name}"
        present = {info.base_name for info in _listed(self._system, folder, recursive=False)}
        if MANIFEST in present:
            self._system.delete_file(f"{folder}/{MANIFEST}")
        if present:
            self._system.delete_dir(folder)
            self._folders.discard(folder)

    def _target(self, name: str) -> str:
        target = f"{self._base}/{name}"
        folder = target.rpartition("/")[0]
        if folder not in self._folders:
            self._system.create_dir(folder, recursive=True)
            self._folders.add(folder)
        return target


def require_own(there: bytes | None, own: bytes | None, place: str) -> None:
    """See that a place in a storage is free, or this run's. Raises RunError if it holds another run."""
    if there is not None and there.strip() != (own or b"").strip():
        raise RunError(
            f"{place} holds another run, of which nothing is overwritten; choose another --name or --storage, or go on "
            f"with that run: eigen2 train --resume {place}"
        )


def require_free(uri: str, run: str, own: bytes | None, deadline_s: float = ASK_S) -> None:
    """See that a storage has no other run of this name; own: the id of this run, None for one that is new.

    Raises RunError if it has. A storage that does not answer in time holds up nothing: it is asked again before
    anything is uploaded.
    """
    found: list[bytes | None] = []

    def ask() -> None:
        try:
            system, base = open_storage(uri)
            found.append(_Remote(system, f"{base}/{run}").run_id())
        except Exception as error:  # noqa: BLE001 - whatever a storage raises, the upload meets it again and tells it
            logger.debug("storage %s: %s", uri, _first_line(error))

    asking = threading.Thread(target=ask, name="storage", daemon=True)
    asking.start()
    asking.join(deadline_s)
    if found:
        require_own(found[0], own, f"{uri.rstrip('/')}/{run}")


def fetch_run(uri: str, into: Path) -> None:
    """Fetch a run, URI/<its name>, into a new folder to go on from: whole, or not at all.

    Its checkpoints are verified when they are loaded. Raises RunError if `into` exists, if there is no run, if it names
    a file outside its folder, or if storage or disk refuse; ConfigError if no filesystem has such URIs.
    """
    from pyarrow import ArrowException

    if into.exists():
        raise RunError(f"{into} exists; fetch {uri} into a folder that does not")
    system, base = open_storage(uri)
    aside = into.with_name(f".{into.name}.partial")
    try:
        names = _names_of_run(uri, base, [info.path for info in _listed(system, base) if info.is_file])
        shutil.rmtree(aside, ignore_errors=True)
        make_folder(aside)
        for name in names:
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            _download(system, f"{base}/{name}", aside / name)
        aside.rename(into)
    except (ArrowException, OSError) as error:
        raise RunError(f"run {uri} can't be fetched into {into}: {_first_line(error)}") from error


def _names_of_run(uri: str, base: str, paths: Sequence[str]) -> list[str]:
    """Names below `base`, without what an interrupted upload left. Raises RunError for a name that leads elsewhere."""
    names = [path.removeprefix(f"{base}/") for path in paths]
    for name in names:
        if not RUN_FILE.fullmatch(name):
            raise RunError(f"run {uri} holds {name!r}, which is no file of a run; nothing was fetched")
    if "config.yaml" not in names:
        raise RunError(f"{uri} is not a run: it has no config.yaml")
    complete = {name.rpartition("/")[0] for name in names if name.endswith(f"/{MANIFEST}")}
    return [name for name in names if not name.endswith(".partial") and ("/" not in name or _folder(name) in complete)]


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _download(system: Any, path: str, target: Path) -> None:
    with system.open_input_stream(path) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink, CHUNK)


def _read(system: Any, path: str) -> bytes:
    with system.open_input_stream(path) as source:
        return bytes(source.read())


def _listed(system: Any, folder: str, recursive: bool = True) -> list[Any]:
    from pyarrow.fs import FileSelector

    return list(system.get_file_info(FileSelector(folder, allow_not_found=True, recursive=recursive)))


def _content(path: Path) -> bytes | None:
    """A file's content, None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
