"""The films here are invented; no line of MovieLens is."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from recgauntlet.core.card import TaskCard
from recgauntlet.core.errors import DataError
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.fingerprint import fingerprint
from recgauntlet_tasks import video_watch
from recgauntlet_tasks.video_watch import task

GENRES = ["unknown", "Action", "Animation", "Children's", "Comedy", "Drama"]
FILMS = [
    (1, "Tin Rabbit (1995)", ["Animation", "Children's"]),
    (2, "Ferryman, The (Passeur, Le) (1991)", ["Drama"]),
    (3, "Été à Brinmoor, L' (1996)", ["Comedy", "Drama"]),
    (4, "Dinosaur Picnic IV: The Great Flood (1995) (V)", ["Animation"]),
    (5, "Orbit 1999 (1998)", ["Action"]),
    (6, "unknown", ["unknown"]),
]
ATOMIC = {
    1: ("Tin Rabbit", "1995"),
    2: ("Ferryman, The (Passeur, Le)", "1991"),
    3: ("Été à Brinmoor, L'", "1996"),
    4: ("Dinosaur Picnic IV: The Great Flood (1995)", "V"),
    5: ("Orbit 1999", "1998"),
    6: ("unkonwn", "unkonwn"),
}
PEOPLE = [(1, 17, "F"), (2, 18, "M"), (3, 24, "F"), (4, 49, "M"), (5, 50, "M"), (6, 56, "F"), (7, 73, "M"), (8, 7, "F")]
WATCHES = [
    (user, film, 1 + (user + film) % 5, 880_000_000 + 60 * film + user) for user in range(1, 9) for film in ATOMIC
]


def official(folder: Path) -> None:
    lines = [
        "|".join([str(film), title, "01-Jan-1995", "", "http://x", *("01"[genre in genres] for genre in GENRES)])
        for film, title, genres in FILMS
    ]
    (folder / "u.item").write_bytes(("\n".join(lines) + "\n").encode("latin-1"))
    (folder / "u.genre").write_text("".join(f"{name}|{place}\n" for place, name in enumerate(GENRES)) + "\n")
    (folder / "u.data").write_text("".join("\t".join(map(str, row)) + "\n" for row in WATCHES))


def atomic(folder: Path) -> None:
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    rows = [f"{film}\t{ATOMIC[film][0]}\t{ATOMIC[film][1]}\t{' '.join(genres)}\n" for film, _, genres in FILMS]
    (folder / "ml-100k.item").write_text(header + "".join(rows), encoding="utf-8")
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    rows = ["\t".join(map(str, row)) + "\n" for row in reversed(WATCHES)]
    (folder / "ml-100k.inter").write_text(header + "".join(rows))


def test_ages_and_genders_come_from_either_file_of_users(here: SourceOptions, files: Path) -> None:
    assert video_watch.user_attributes(here) == ()
    (files / "u.user").write_text("".join(f"{user}|{age}|{gender}|other|00000\n" for user, age, gender in PEOPLE))
    ages, genders = video_watch.user_attributes(here)
    assert {user: ages.labels[place] for user, place in ages.of_user.items()} == {
        "1": "under 18",
        "2": "18–24",
        "3": "18–24",
        "4": "45–49",
        "5": "50–55",
        "6": "56 and over",
        "7": "56 and over",
        "8": "under 18",
    }
    assert [genders.labels[genders.of_user[str(user)]] for user, _, _ in PEOPLE] == [gender for _, _, gender in PEOPLE]
    (files / "u.user").unlink()
    header = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    rows = [f"{user}\t{age}\t{gender}\tother\t00000\n" for user, age, gender in PEOPLE]
    (files / "ml-100k.user").write_text(header + "".join(rows))
    assert video_watch.user_attributes(here) == (ages, genders)


@pytest.mark.parametrize("row", ["1|old|F|other|0", "1|200|F|other|0", "1|20|X|other|0"])
def test_a_user_with_no_age_or_another_gender_is_a_damaged_file(row: str, here: SourceOptions, files: Path) -> None:
    (files / "u.user").write_text(f"2|30|M|other|0\n{row}\n")
    with pytest.raises(DataError, match="no age in years") as caught:
        video_watch.user_attributes(here)
    assert caught.value.field == "line 2"


def test_the_official_files_and_recboles_copy_give_one_table(here: SourceOptions, files: Path) -> None:
    official(files)
    first = task.load(task.card, "standard", here)
    for path in files.iterdir():
        path.unlink()
    atomic(files)
    second = task.load(task.card, "standard", here)
    assert fingerprint(first) == fingerprint(second)
    assert {row["id"]: row["text"] for row in first.items.to_pylist()} == {
        "1": "Tin Rabbit Animation Children's",
        "2": "Ferryman, The (Passeur, Le) Drama",
        "3": "Été à Brinmoor, L' Comedy Drama",
        "4": "Dinosaur Picnic IV: The Great Flood Animation",
        "5": "Orbit 1999 Action",
        "6": "unknown",
    }


def test_the_official_archive_in_a_directory_gives_the_same(here: SourceOptions, files: Path) -> None:
    official(files)
    first = task.load(task.card, "standard", here)
    with zipfile.ZipFile(files / "ml-100k.zip", "w") as archive:
        for name in ("u.item", "u.genre", "u.data"):
            archive.write(files / name, f"ml-100k/{name}")
            (files / name).unlink()
    assert fingerprint(task.load(task.card, "standard", here)) == fingerprint(first)


def demo_card(users: int) -> TaskCard:
    demo = task.card.track("demo")
    smaller = demo.model_copy(update={"cleaning": {**demo.cleaning, "users": users}})
    return task.card.model_copy(update={"tracks": {**task.card.tracks, "demo": smaller}})


def test_the_demo_keeps_whole_users_and_the_films_they_watched(here: SourceOptions, files: Path) -> None:
    official(files)
    with (files / "u.data").open("a") as file:
        file.write("99\t1\t5\t880000000\n")
    interactions = task.load(demo_card(3), "demo", here).interactions
    assert interactions is not None
    users = interactions["user"].to_pylist()
    assert len(set(users)) == 3
    assert all(users.count(user) == (1 if user == "99" else 6) for user in users)


def test_without_a_mirror_every_one_is_named(here: SourceOptions) -> None:
    with pytest.raises(DataError) as caught:
        task.load(task.card, "standard", here)
    message = str(caught.value)
    assert "has none of: u.data and u.item and u.genre" in message
    assert "the GroupLens archive: not downloaded yet" in message
    assert "the wheel recbole==1.2.1" in message


def test_damaged_and_foreign_files_are_named(here: SourceOptions, files: Path) -> None:
    official(files)
    items = files / "u.item"
    whole = items.read_bytes()
    items.write_bytes(whole[:-20])
    with pytest.raises(DataError, match="fields where 11 are expected") as caught:
        task.load(task.card, "standard", here)
    assert (caught.value.where, caught.value.field) == (str(items), "line 6")
    items.write_bytes(whole)
    (files / "u.data").write_text("1\t1\t5\tlast week\n")
    with pytest.raises(DataError, match="no time in whole seconds"):
        task.load(task.card, "standard", here)
    items.unlink()
    atomic(files)
    (files / "ml-100k.inter").write_text("user\titem\trating\ttime\n1\t1\t5\t1\n")
    with pytest.raises(DataError, match="line 1: begins with"):
        task.load(task.card, "standard", here)


def test_a_wheel_that_is_not_the_one_on_the_card_is_refused(here: SourceOptions, files: Path) -> None:
    (files / video_watch.WHEEL.filename).write_bytes(b"something else")
    with pytest.raises(DataError, match="not the wheel "):
        task.load(task.card, "standard", here)
