"""The files that commands write: refused before the work where they cannot be one, folders made for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


def check_target(path: Path) -> None:
    """Refuse a directory, a missing directory, a place without permission, and what is no ordinary file."""
    from kwta_theory.report import files

    files.check_writable(path)
    check_replaceable(path)


def check_replaceable(path: Path) -> None:
    """Refuse a device, a pipe or a socket: files are written beside their target and moved over it, so it were gone."""
    from kwta_theory.checks import InvalidArgumentError

    if path.exists() and not path.is_file():
        raise InvalidArgumentError(f"{str(path)!r} is no ordinary file, which would be replaced: give another name.")


@contextlib.contextmanager
def folder_of(file: Path) -> Iterator[None]:
    """Make the missing folders of a file; take them away again when nothing was put there."""
    missing = [folder for folder in file.absolute().parents if not folder.exists()]
    file.absolute().parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the first that is not empty ends it
            for folder in missing:
                folder.rmdir()
