"""What a page is made of, before it becomes HTML: text, tables, pictures, playing clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Picture:
    """A picture inside the page.

    Attributes:
        uri: The picture itself, as a data URI.
        alt: A description for those who can't see it.
        caption: What stands below it.
        width: Pixels on screen; 0 leaves it to the style sheet.
    """

    uri: str
    alt: str
    caption: str
    width: int = 0


@dataclass(frozen=True)
class Film:
    """A clip that plays without a script: its frames side by side in one picture, shown one at a time.

    Attributes:
        uri: The frames from left to right, as a data URI.
        outlines: The outlines of the wire in the same places on nothing, as a data URI; empty for none.
        frames: How many.
        ratio: Width of a frame over its height.
        alt: A description for those who can't see it.
        caption: What stands below it.
    """

    uri: str
    outlines: str
    frames: int
    ratio: float
    alt: str
    caption: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table: a number, and in small letters below it what it comes with."""

    text: str
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose first row and first column are headings.

    Attributes:
        caption: What it shows, for those who hear the page.
        head: Headings of all columns.
        rows: Cells, the first of each row its heading.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]


@dataclass(frozen=True)
class Block:
    """Part of a section.

    Attributes:
        title: Its heading; empty for none.
        text: Paragraphs.
        tables: Tables.
        pictures: Pictures and plots.
        films: Playing clips.
        code: Text as it lies in a file.
        closed: Shown only when its title is opened.
    """

    title: str = ""
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    films: Sequence[Film] = ()
    code: str = ""
    closed: bool = False


@dataclass(frozen=True)
class View:
    """A section of the page.

    Attributes:
        anchor: Its name within addresses.
        title: Its heading, mostly a question.
        short: Its name in the list of contents.
        blocks: What it is made of.
    """

    anchor: str
    title: str
    short: str
    blocks: Sequence[Block]


Answer = Literal["yes", "partly", "no", "unknown"]


@dataclass(frozen=True)
class Reason:
    """One thing that an answer rests on: whether it holds (None: not known), in words with its numbers."""

    holds: bool | None
    text: str


@dataclass(frozen=True)
class Verdict:
    """A question of the summary with its answer.

    Attributes:
        question: The question.
        answer: The answer.
        words: The answer in words.
        reasons: What it rests on.
        rule: How the answer follows from them.
    """

    question: str
    answer: Answer
    words: str
    reasons: Sequence[Reason]
    rule: str


@dataclass(frozen=True)
class Tile:
    """One number at the top of a page: what it is, the number, and what it stands beside."""

    label: str
    value: str
    detail: str
