from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from recgauntlet.core.errors import OutputError
from recgauntlet.core.journal import Journal


class Result(BaseModel):
    value: int


def step(journal: Journal, key: str, value: int, done: list[str]) -> int:
    def compute() -> Result:
        done.append(key)
        return Result(value=value)

    return journal.do(key, Result, compute).value


def test_finished_steps_are_not_computed_again(tmp_path: Path) -> None:
    path, done = tmp_path / "cell.journal", list[str]()
    assert not path.exists()
    for key, value in (("a", 1), ("b", 2)):
        step(Journal(path, {"suite": "x"}), key, value, done)
    assert path.exists()
    again = Journal(path, {"suite": "x"})
    assert [step(again, "a", 9, done), step(again, "b", 9, done), step(again, "c", 3, done)] == [1, 2, 3]
    assert done == ["a", "b", "c"]
    again.remove()
    assert not path.exists()


def test_another_header_starts_anew(tmp_path: Path) -> None:
    path, done = tmp_path / "cell.journal", list[str]()
    step(Journal(path, {"suite": "x"}), "a", 1, done)
    assert step(Journal(path, {"suite": "y"}), "a", 2, done) == 2
    assert step(Journal(path, {"suite": "y"}), "a", 3, done) == 2
    assert done == ["a", "a"]


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_that_was_cut_off_is_computed_again_and_the_rest_kept(tmp_path: Path, cut: int) -> None:
    path, done = tmp_path / "cell.journal", list[str]()
    journal = Journal(path)
    for key, value in (("a", 1), ("b", 2)):
        step(journal, key, value, done)
    path.write_bytes(path.read_bytes()[:-cut])
    again = Journal(path)
    assert [step(again, "a", 8, done), step(again, "b", 9, done)] == [1, 9]
    assert [step(Journal(path), key, 0, done) for key in "ab"] == [1, 9]


def test_a_result_of_another_form_is_computed_again(tmp_path: Path) -> None:
    path, done = tmp_path / "cell.journal", list[str]()
    step(Journal(path), "a", 1, done)
    path.write_text(path.read_text().replace("value", "other"))
    assert step(Journal(path), "a", 4, done) == 4


def test_without_a_path_nothing_is_kept_and_a_bad_path_is_told(tmp_path: Path) -> None:
    assert step(Journal(), "a", 1, []) == 1
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="--out"):
        step(Journal(tmp_path / "file" / "below.journal"), "a", 1, [])
