"""Who a DICOM file shows, as a pseudonym: a salted hash that the same machine gives again and nobody can undo."""

import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sfvd_pl.errors import SourceError

DIGITS = 10
"""Hexadecimal digits of a pseudonym: 40 bits, a chance of 1 in 20,000 that any two of 10,000 patients share one."""


def default_salt() -> str:
    """The secret behind this user's pseudonyms.

    The environment variable SFVD_SALT where it is set; otherwise a random secret that is made once, readable by its
    owner only, in ``$XDG_CONFIG_HOME/sfvd/salt`` (``~/.config/sfvd/salt``). Copy it, or set the variable, where two
    machines are to give the same patient the same name. Whoever holds it can test whether a known patient ID is in
    an artifact; it is never written to one.

    Raises:
        SourceError: The file can't be made or read, or is empty.
    """
    given = os.environ.get("SFVD_SALT", "")
    if given:
        return given
    path = salt_path()
    try:
        if not path.exists():
            _create(path)
        salt = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise _error("the secret behind the pseudonyms can't be made or read", path, str(error)) from error
    if not salt:
        raise _error("the secret behind the pseudonyms is empty", path, "nothing in the file")
    return salt


def salt_path() -> Path:
    """Where the secret lies.

    Raises:
        SourceError: The user has no home folder.
    """
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    if folder:
        return Path(folder) / "sfvd" / "salt"
    try:
        return Path.home() / ".config" / "sfvd" / "salt"
    except RuntimeError as error:
        raise _error("there is no folder for the secret behind the pseudonyms", None, str(error)) from error


def pseudonym(salt: str, kind: str, *identity: str) -> str:
    """Ten hexadecimal digits of HMAC-SHA256(salt, kind and identity).

    Args:
        salt: The secret.
        kind: Keeps apart what is named by different things, e.g. patients by ID and patients by name.
        identity: What names the patient or the run; parts can't run into one another.

    Raises:
        SourceError: The salt is empty: anybody could then try all patient IDs.
    """
    if not salt:
        raise SourceError(
            "pseudonyms need a secret",
            key="salt",
            expected="a text that isn't empty",
            found="''",
            remedy="set SFVD_SALT, or leave it out and one is made",
        )
    message = "\0".join([kind, *identity]).encode("utf-8", "surrogateescape")
    return hmac.new(salt.encode("utf-8"), message, hashlib.sha256).hexdigest()[:DIGITS]


def patient_pseudonym(salt: str, header: Mapping[str, str], folder: Path) -> tuple[str, str]:
    """The patient's pseudonym, and what it was derived from.

    From the first that is there: PatientID; PatientName with PatientBirthDate; StudyInstanceUID; the folder that
    the file lies in. The first two are compared without regard to case and surplus blanks.

    Args:
        salt: The secret.
        header: These elements as text, empty where the file lacks one.
        folder: Of the file.

    Returns:
        ``p-`` and ten digits; and the name of the source.
    """
    number = _plain(header.get("PatientID", ""))
    name = _plain(header.get("PatientName", "").replace("^", " ").replace("=", " "))
    study = header.get("StudyInstanceUID", "").strip()
    if number:
        return f"p-{pseudonym(salt, 'patient id', number)}", "PatientID"
    if name:
        birth = header.get("PatientBirthDate", "").strip()
        return f"p-{pseudonym(salt, 'patient name', name, birth)}", "PatientName"
    if study:
        return f"p-{pseudonym(salt, 'study', study)}", "StudyInstanceUID"
    return f"p-{pseudonym(salt, 'folder', str(folder.resolve()))}", "folder"


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _create(path: Path) -> None:
    """Write a new secret whole or not at all; whoever comes first in a race wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".salt-")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)


def _error(message: str, path: Path | None, found: str) -> SourceError:
    return SourceError(
        message, file=path, expected="a secret text", found=found, remedy="set the environment variable SFVD_SALT"
    )
