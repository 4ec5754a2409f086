"""A small, deterministic simulator of news readers, for the demo track: invented headlines, topical readers.

Nothing here is real. Every draw is a SHA-256 of what it is for, so no version of a library can change a byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from recgauntlet.core.rng import derive
from recgauntlet_tasks import mind

T = TypeVar("T")

FIRST_DAY = 1_573_257_600
"""2019-11-09 in seconds (UTC): the simulated week lies where MIND's lies."""
DAYS = 6


@dataclass(frozen=True)
class Size:
    """How much is simulated."""

    articles: int
    readers: int
    impressions: int
    shown: int
    seed: int


_PEOPLE = (
    "Adair",
    "Bellweather",
    "Calloway",
    "Dunmore",
    "Eastlake",
    "Fenwick",
    "Garrow",
    "Hollis",
    "Ives",
    "Jarvis",
    "Kestrel",
    "Lockhart",
    "Merrin",
    "Northcote",
    "Orrin",
    "Pemberley",
    "Quillan",
    "Rusk",
    "Sable",
    "Thackery",
)
_TOWNS = (
    "Fairbrook",
    "Ashford",
    "Millhaven",
    "Cedar Point",
    "Larkspur",
    "Redcliff",
    "Stonebridge",
    "Westmere",
    "Oakdale",
    "Brinmoor",
    "Gull Harbor",
    "Tarrow",
    "Upper Vale",
    "Wickham",
)

_TOPICS: dict[str, tuple[str, ...]] = {
    "sports": (
        "{person} Scores {n} Points as {town} Wins the Derby",
        "{town} Coach {person} Praises Rookie After Overtime Loss",
        "Injury Report: {person} Out {n} Weeks Before Playoff Game",
        "Power Rankings: {n} Teams That Surprised the League",
        "{town} Trades Veteran Quarterback {person} for Draft Picks",
        "Goalkeeper {person} Saves {n} Penalties in One Season",
    ),
    "finance": (
        "Stocks Slip as {town} Bank Cuts Its Growth Forecast",
        "{n} Retirement Savings Mistakes to Avoid, Says {person}",
        "Markets Rally After Strong Earnings From {town} Retailers",
        "How {person} Paid Off ${n},000 of Student Debt",
        "Mortgage Rates Fall for {n} Weeks in a Row",
        "Investors Brace for Inflation Report, {person} Warns",
    ),
    "foodanddrink": (
        "{n} Easy Soup Recipes for a Cold Weeknight",
        "Chef {person} Shares a Secret for Crisp Roast Potatoes",
        "The Best Bakery in {town} Sells {n} Kinds of Bread",
        "Why Your Pie Crust Shrinks, and How {person} Fixes It",
        "Slow Cooker Chili With Beans, Beer and {n} Spices",
        "{n} Cheese Boards Worth Making for Guests",
    ),
    "health": (
        "{n} Stretches That Ease Lower Back Pain",
        "Doctors in {town} Warn of an Early Flu Season",
        "Sleep Study Finds {n} Habits That Help You Rest",
        "Dr. {person} Explains What Vitamins Really Do",
        "{town} Trial Tests Blood Pressure Drug on {n} Patients",
        "Walking {n} Minutes a Day Lowers Heart Risk, Study Says",
    ),
    "travel": (
        "{n} Quiet Beaches to Visit Before Summer Crowds",
        "Inside {town}, the Mountain Village Without Cars",
        "Airline Adds {n} Routes and Drops Change Fees",
        "What {person} Packs for a Month of Train Travel",
        "The Night Ferry to {town} Is Back, With {n} Cabins",
        "Hotels With Views: {n} Rooms Above the Clouds",
    ),
    "autos": (
        "First Drive: {n} Miles in the New Electric Pickup",
        "{town} Plant to Build Hybrid Engines Next Year",
        "Recall: {n},000 Sedans Have Faulty Brake Sensors",
        "{person} Restores a Rare Roadster Found in a Barn",
        "Used Cars That Last More Than {n} Years",
        "Why Winter Tires Matter, Says Mechanic {person}",
    ),
    "movies": (
        "Director {person} Confirms Sequel to Space Thriller",
        "Review: A Quiet Drama From {town} Steals the Festival",
        "{n} Horror Films to Stream on a Stormy Night",
        "{person} Cast as Villain in Superhero Reboot",
        "Box Office: Animated Musical Opens at ${n} Million",
        "The Oscars Race Has a New Favorite: {person}",
    ),
    "weather": (
        "Storm Brings {n} Inches of Snow to {town}",
        "Forecast: Wind and Freezing Rain for {town} Through Friday",
        "{town} Schools Close as River Rises {n} Feet",
        "Cold Front Breaks Record Low Set {n} Years Ago",
        "Meteorologist {person} Says the Drought May Last",
        "Fog Delays {n} Flights Across the Coast This Morning",
    ),
}


def simulate(size: Size) -> dict[str, bytes]:
    """MIND's two files by name, of an invented week.

    A reader has two favourite topics. Their history and most of their clicks come from these; most of what is shown
    and not clicked comes from the others. One shown candidate in eight is the other way round.
    """
    news = _articles(size)
    by_topic = {topic: [item for item, _, of in news if of == topic] for topic in _TOPICS}
    rows = [_impression(number, size, by_topic) for number in range(size.impressions)]
    return mind.write(rows, news)


def _articles(size: Size) -> list[tuple[str, str, str]]:
    topics = list(_TOPICS)
    out: dict[str, tuple[str, str, str]] = {}
    attempt = 0
    while len(out) < size.articles:
        topic = topics[len(out) % len(topics)]
        title = _pick(_TOPICS[topic], size.seed, "title", attempt).format(
            person=_pick(_PEOPLE, size.seed, "person", attempt),
            town=_pick(_TOWNS, size.seed, "town", attempt),
            n=2 + derive(size.seed, "number", attempt) % 48,
        )
        attempt += 1
        out.setdefault(title, (f"N{len(out) + 1}", title, topic))
    return list(out.values())


def _impression(number: int, size: Size, by_topic: dict[str, list[str]]) -> mind.Row:
    seed = size.seed
    reader = derive(seed, "reader", number) % size.readers
    favourites = _distinct(list(by_topic), 2, seed, "favourite", reader)
    others = [topic for topic in by_topic if topic not in favourites]
    history = _history(reader, favourites, others, by_topic, seed)
    clicks = 1 + derive(seed, "clicks", number) % 2
    shown: list[str] = []
    clicked: list[bool] = []
    attempt = 0
    while len(shown) < size.shown:
        click = len(shown) < clicks
        odd = derive(seed, "odd", number, attempt) % 8 == 0
        topic = _pick(favourites if click != odd else others, seed, "topic", number, attempt)
        item = _pick(by_topic[topic], seed, "shown", number, attempt)
        attempt += 1
        if item not in shown and item not in history:
            shown.append(item)
            clicked.append(click)
    order = sorted(range(size.shown), key=lambda place: derive(seed, "order", number, place))
    time = FIRST_DAY + derive(seed, "time", number) % (DAYS * 86_400)
    return (
        str(number + 1),
        f"U{reader + 1}",
        time,
        history,
        [shown[i] for i in order],
        [clicked[i] for i in order],
    )


def _history(
    reader: int, favourites: Sequence[str], others: Sequence[str], by_topic: dict[str, list[str]], seed: int
) -> list[str]:
    out: list[str] = []
    for place in range(4 + derive(seed, "length", reader) % 9):
        odd = derive(seed, "stray", reader, place) % 8 == 0
        topic = _pick(others if odd else favourites, seed, "read topic", reader, place)
        item = _pick(by_topic[topic], seed, "read", reader, place)
        if item not in out:
            out.append(item)
    return out


def _pick(choices: Sequence[T], seed: int, purpose: str, *ids: int) -> T:
    return choices[derive(seed, purpose, *ids) % len(choices)]


def _distinct(choices: Sequence[T], count: int, seed: int, purpose: str, *ids: int) -> list[T]:
    order = sorted(range(len(choices)), key=lambda place: derive(seed, purpose, *ids, place))
    return [choices[place] for place in order[:count]]
