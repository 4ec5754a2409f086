"""The manifest of a submission: who sends what, by which recipe it was made, and the sums of all files."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from recgauntlet.core.card import Track
from recgauntlet.core.errors import RecordError
from recgauntlet.records.digest import digest_of, to_bytes, validated
from recgauntlet.records.manifest import MANIFEST, SummaryRow
from recgauntlet.records.references import Part, SuiteRef
from recgauntlet.records.schema import RunRecord

SCHEMA_VERSION: Literal[1] = 1
KIND: Literal["submission"] = "submission"
REMEDY = "pack it again with recgauntlet submit"
LONGEST_LINE = 200
LONGEST_NOTE = 2000
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_LINK = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*)?")
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def plain(text: str) -> str:
    """`text`, which must read on a page as it stands: no control character, nothing that reorders or hides what
    follows; ValueError otherwise. Line breaks count as control characters."""
    for character in text:
        if unicodedata.category(character) in _UNSEEN:
            raise ValueError(f"holds the character U+{ord(character):04X}, which a page cannot show as it stands")
    if text != text.strip():
        raise ValueError("begins or ends with white space")
    return text


def plain_lines(text: str) -> str:
    """As `plain`, line by line."""
    for line in text.split("\n"):
        plain(line.rstrip(" "))
    return text


def slug(text: str) -> str:
    """`text`, which must be lower-case letters, digits and single hyphens, 64 at most; ValueError otherwise."""
    if not _SLUG.fullmatch(text) or "--" in text:
        raise ValueError("is not made of lower-case letters, digits and single hyphens, 64 at most")
    return text


def link(text: str) -> str:
    """`text`, which must be empty or an address that begins with http:// or https://; ValueError otherwise."""
    if text and not _LINK.fullmatch(text):
        raise ValueError("is no address that begins with http:// or https://")
    return text


Slug = Annotated[str, AfterValidator(slug)]
Line = Annotated[str, Field(max_length=LONGEST_LINE), AfterValidator(plain)]
Note = Annotated[str, Field(max_length=LONGEST_NOTE), AfterValidator(plain_lines)]
Link = Annotated[str, Field(max_length=LONGEST_LINE), AfterValidator(link)]


class Sender(Part):
    """Who sends it, in their own words."""

    authors: Line = ""
    link: Link = ""
    note: Note = ""


class Submitted(Part):
    """The plugin: `kind`, registered name, and the package that ships it. `source_sha256` is a hash of its files."""

    kind: Literal["defense", "model"]
    name: Slug
    distribution: Line
    version: Line
    source_sha256: str


class Recipe(Part):
    """Which cells a submission has: every one of these, and no other."""

    track: Track
    tasks: tuple[Slug, ...]
    models: tuple[Slug, ...]
    defenses: tuple[Slug, ...]
    seeds: tuple[int, ...]
    suite: SuiteRef

    def cells(self) -> tuple[tuple[str, str, str, int], ...]:
        """Task, model, defense and seed of each cell."""
        return tuple(
            (task, model, defense, seed)
            for task in self.tasks
            for model in self.models
            for defense in self.defenses
            for seed in self.seeds
        )


class SubmittedFile(Part):
    """A file of the archive: its path with `/`, its SHA-256 and its size in bytes."""

    path: str
    sha256: str
    bytes: int = Field(ge=0)


class Submission(Part):
    """A submission. `created` is a time in UTC (ISO 8601); `recgauntlet` the version that packed it; `summary` the rows
    that its records make."""

    kind: Literal["submission"] = KIND
    schema_version: Literal[1] = SCHEMA_VERSION
    created: Line
    recgauntlet: Line
    plugin: Submitted
    sender: Sender
    recipe: Recipe
    files: tuple[SubmittedFile, ...]
    summary: tuple[SummaryRow, ...]
    digest: str = ""

    def owns(self, record: RunRecord) -> bool:
        """Whether a record is of the submitted plugin, not of a twin or another model beside it."""
        return self.plugin.name == (record.defense.name if self.plugin.kind == "defense" else record.model.name)

    def to_bytes(self) -> bytes:
        """The file `manifest.json`, with its digest."""
        return to_bytes(self.model_copy(update={"digest": digest_of(self.model_dump(mode="json"))}))


def parse_submission(content: dict[str, Any], where: Path) -> Submission:
    """The content of a `manifest.json`, checked.

    Raises RecordError where it is none of a submission, was edited, or says what may not be said.
    """
    if content.get("kind") != KIND:
        raise RecordError("is no manifest of a submission", where=where / MANIFEST, field="kind", remedy=REMEDY)
    return validated(content, Submission, (SCHEMA_VERSION,), where / MANIFEST, "pack it again", REMEDY)
