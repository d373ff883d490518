"""Errors that a user can act on: where, which key, what was expected, what was found, what to do."""

from os import PathLike


class SfvdError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        message: What is wrong, in one sentence.
        file: The file or folder concerned.
        key: The column, attribute or argument concerned.
        expected: What would have been right.
        found: What was there instead.
        remedy: What the user can do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | PathLike[str] | None = None,
        key: str | None = None,
        expected: object | None = None,
        found: object | None = None,
        remedy: str | None = None,
    ) -> None:
        self.message = message
        self.file = None if file is None else str(file)
        self.key = key
        self.expected = expected
        self.found = found
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        """The message and every known fact, one line each."""
        facts = [
            ("file", self.file),
            ("key", self.key),
            ("expected", self.expected),
            ("found", self.found),
            ("remedy", self.remedy),
        ]
        return "\n".join([self.message, *(f"  {name}: {value}" for name, value in facts if value is not None)])

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by keyword, so that an error crosses from a DataLoader worker unharmed."""
        facts = {name: getattr(self, name) for name in ("file", "key", "expected", "found", "remedy")}
        return (_rebuild, (type(self), self.message, facts))


def _rebuild(cls: type[SfvdError], message: str, facts: dict[str, object]) -> SfvdError:
    return cls(message, **facts)  # type: ignore[arg-type]


class ArtifactError(SfvdError):
    """An HDF5 artifact is missing, damaged, of another kind or version, or breaks its schema."""


class SourceError(SfvdError):
    """A user's clips can't be read or can't make a data set."""


class ExportError(SfvdError):
    """An artifact can't be written in another format."""


class ConfigError(SfvdError):
    """Settings contradict one another or the data."""


class CheckpointError(SfvdError):
    """A checkpoint is damaged or belongs to another architecture or data set."""


class TrainingError(SfvdError):
    """A training can't go on: its gradients are no numbers, or the memory doesn't suffice."""


class LeakError(SfvdError):
    """Something learned from a patient who must stay unseen would reach a result on that patient."""


class MetricsError(SfvdError):
    """Measures can't be computed, or a metrics file breaks its schema."""
