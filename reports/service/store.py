"""The reports' files, named by the SHA-256 of their bytes. One has its name only when all of it is on disk.

    incoming/       what is arriving; the process that writes a file holds a lock on it
    reports/ab/     ab….xml

An upload is written and synced under a name of its own (.part). In one transaction its row is added and the
file linked (.link) and renamed to its true name; after the commit it loses its first name. A removal renames
the file back here (.removed) before its commit. What a killed process leaves is therefore in incoming/,
unlocked; if it has two links or is .removed, the row says whether the true name stays.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

CHUNK = 2**20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DiskFull(Exception):
    """There is no room for what was to be written."""


class Spool:
    """A file that is arriving. Hashed as it is written; closing it removes it."""

    def __init__(self, folder: Path) -> None:
        self._file, self.path = _locked(folder)
        self._hash, self.size = hashlib.sha256(), 0
        self._stays = False

    def write(self, data: bytes) -> None:
        with disk_full():
            self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def seal(self) -> str:
        """Puts it on the disk for good. Returns the SHA-256 of its bytes, in hexadecimal."""
        with disk_full():
            self._file.flush()
            os.fsync(self._file.fileno())
        return self._hash.hexdigest()

    def leave(self) -> None:
        """Closing it will not remove it: it stays for the next sweep."""
        self._stays = True

    def close(self) -> None:
        if not self._stays:
            self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what a full disk left in the buffer is of no use now
            self._file.close()


class Store:
    """The files below a folder, which it makes."""

    def __init__(self, data: Path) -> None:
        self.incoming, self.reports = data / "incoming", data / "reports"
        for folder in (self.incoming, self.reports):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        return self.reports / digest[:2] / f"{digest}.xml"

    def intact(self, digest: str, size: int) -> bool:
        """Whether the file is there and as long as it should be; `sound` says whether it is right."""
        try:
            return self.path(digest).stat().st_size == size
        except FileNotFoundError:
            return False

    def sound(self, digest: str) -> bool:
        """Whether the file is there and is, by its hash, what its name says."""
        try:
            return digest_of(self.path(digest)) == digest
        except FileNotFoundError:
            return False

    def place(self, spool: Spool, digest: str) -> None:
        """Gives a sealed file its true name. Raises DiskFull."""
        path = self.path(digest)
        step = self.incoming / f"{uuid4().hex}.link"
        with disk_full():
            if not path.parent.exists():
                path.parent.mkdir(mode=0o700, exist_ok=True)
                _sync_folder(self.reports)
            os.link(spool.path, step)
            try:
                os.replace(step, path)
            except OSError:
                step.unlink(missing_ok=True)
                raise
            _sync_folder(path.parent)

    def withdraw(self, digest: str) -> Path | None:
        """Takes the file's true name away. Returns its name until it is unlinked; None if there was none."""
        aside = self.incoming / f"{uuid4().hex}.removed"
        try:
            os.replace(self.path(digest), aside)
        except FileNotFoundError:
            return None
        return aside

    def leftovers(self) -> Iterator[tuple[Path, str]]:
        """What killed processes left in incoming/: (path, digest), which is "" if it had no true name yet."""
        for path in sorted(self.incoming.iterdir()):
            try:
                with path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    named = path.suffix == ".removed" or os.fstat(file.fileno()).st_nlink > 1
                    yield path, digest_of(path) if named else ""
            except (BlockingIOError, FileNotFoundError):
                continue  # in use, or done with just now

    def digests(self) -> Iterator[str]:
        """Of every file that has its true name, in order."""
        for path in sorted(self.reports.glob("*/*.xml")):
            yield path.stem


def digest_of(path: Path, progress: Callable[[int], None] = lambda _: None) -> str:
    """The SHA-256 of the file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            progress(len(chunk))
    return digest.hexdigest()


@contextmanager
def disk_full() -> Iterator[None]:
    """An OSError that means "no room" becomes DiskFull."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull from None
        raise


def _locked(folder: Path):
    """A new file and its path; locked, so that nobody takes it for a leftover."""
    while True:
        path = folder / f"{uuid4().hex}.part"
        with disk_full():
            file = path.open("xb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink:
                return file, path
        except BlockingIOError:
            # A sweep, or a check, which removes nothing, got in between the two lines above.
            path.unlink(missing_ok=True)
        file.close()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
