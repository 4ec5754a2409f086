"""From normalized tables to examples: histories, balanced pairs and impressions of one track.

What a training example is made of lies before the validation period (of its user, where the split is per user): its
history, its click, and what counts as taken when its unclicked candidates are drawn. In evaluation nothing the user
ever took is called unclicked.
"""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pyarrow as pa

from recgauntlet.core.card import Split, TrackCard
from recgauntlet.core.dataset import Catalog, Impressions, Pairs, Taken, TaskData
from recgauntlet.core.errors import CardError, DataError
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.data.cleaning import pc
from recgauntlet.data.negative_sampling import unseen, unseen_by_popularity
from recgauntlet.data.takes import Takes
from recgauntlet.data.takes import histories as cut_histories


def boundaries(split: Split, times: IntArray, where: str) -> tuple[int, int]:
    """The first second of the validation period and of the test period.

    Dates are midnight UTC. A share s is the time of the interaction at place floor(s * n) in order of time, so that
    at most that share lies before it.

    Raises
    ------
    CardError
        Where a boundary is neither, or the test period does not begin after the validation period.
    """
    valid, test = (
        boundary(getattr(split, name), times, where, f"split.{name}") for name in ("valid_from", "test_from")
    )
    if valid >= test:
        raise CardError(
            f"the test period ({split.test_from}) must begin after the validation period ({split.valid_from})",
            where=where,
            field="split.test_from",
            remedy="let test_from be later than valid_from",
        )
    return valid, test


def _ends(split: Split, times: IntArray, valid: int, test: int, where: str) -> tuple[int, int]:
    """The first second of the training period, and the first after the test period, far away where the split names
    none; CardError where they do not lie around the boundaries `valid` and `test`."""
    begin, end = -(2**62), 2**62
    if split.train_from:
        begin = boundary(split.train_from, times, where, "split.train_from")
    if split.test_until:
        end = boundary(split.test_until, times, where, "split.test_until")
    if not (begin < valid and test < end):
        raise CardError(
            f"training from {split.train_from or 'the first interaction'} and testing until "
            f"{split.test_until or 'the last'} leave no period for one of them",
            where=where,
            field="split.train_from, split.test_until",
            remedy="let train_from lie before valid_from, and test_until behind test_from",
        )
    return begin, end


def boundary(text: str, times: IntArray, where: str, field: str) -> int:
    """The second that a date or a share of the interactions names; CardError where it is neither."""
    try:
        share = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise CardError(
                f"{text!r} is neither an ISO date nor a share",
                where=where,
                field=field,
                remedy='write a date ("2019-11-14") or a share of the interactions ("0.8")',
            ) from error
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    if not 0 < share < 1:
        raise CardError(
            f"the share {text} does not lie between 0 and 1", where=where, field=field, remedy='write "0.8"'
        )
    return int(np.sort(times)[int(share * len(times))])


def periods(split: Split, users: IntArray, times: IntArray, where: str) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Which rows train, which validate and which test: three masks `[n]`.

    With the rule `per-user`, a boundary is the time of the user's interaction at place floor(share * count) in order
    of time, so that what a user took at one time lies in one period. Users with few items may have no validation.

    Parameters
    ----------
    users
        `[n]` indices, from 0 without gaps.
    times
        `[n]` seconds, or places in each user's order.

    Raises
    ------
    CardError
        As `boundaries`.
    """
    if split.rule == "time":
        valid_from, test_from = boundaries(split, times, where)
        begin, end = _ends(split, times, valid_from, test_from, where)
        in_valid = (times >= valid_from) & (times < test_from)
        return (times >= begin) & (times < valid_from), in_valid, (times >= test_from) & (times < end)
    counts = np.bincount(users)
    starts = np.cumsum(counts) - counts
    ranked = times[np.lexsort((times, users))]
    # Whole numbers: as floats, 0.7 * 90 is less than 63.
    shares = [Fraction(share).limit_denominator(10**6) for share in (split.valid_from, split.test_from)]
    own_valid, own_test = (ranked[starts + counts * share.numerator // share.denominator][users] for share in shares)
    train, test = times < own_valid, times >= own_test
    return train, ~train & ~test, test


def catalog_of(items: pa.Table) -> Catalog:
    """The catalog: items in the order of their ids."""
    rows = items.sort_by("id")
    return Catalog(*(tuple(rows[name].to_pylist()) for name in ("id", "text", "category")))


def _codes(column: pa.ChunkedArray | pa.Array, values: pa.Array) -> IntArray:
    out: IntArray = pc.index_in(column, value_set=values).to_numpy().astype(np.int64)
    return out


def takes_of(interactions: pa.Table, users: pa.Array, catalog: Catalog) -> Takes:
    """The rows of a table of interactions by the places of their users in `users` and of their items in `catalog`."""
    times: IntArray = interactions["time"].to_numpy().astype(np.int64)
    return Takes.of(_codes(interactions["user"], users), _codes(interactions["item"], pa.array(catalog.ids)), times)


def from_interactions(
    items: pa.Table, interactions: pa.Table, card: TrackCard, fingerprint: str, where: str
) -> TaskData:
    """The track's data from interactions, unclicked candidates drawn uniformly from what the user never took; where the
    card asks for them, also lists with candidates drawn by their clicks in the training period.

    An item counts once for a user, at its first time. A history holds what was taken in an earlier second (or at an
    earlier place, where the data has an order alone), so that items of one basket do not explain each other.
    Clicks without history are no examples.

    Raises
    ------
    DataError
        Where a period gives fewer examples than the card asks for, or a user has taken nearly everything.
    """
    catalog = catalog_of(items)
    known_users = pc.unique(interactions["user"]).sort()
    takes = takes_of(interactions, known_users, catalog)
    users, taken, times = takes.users, takes.items, takes.times
    in_train, in_valid, in_test = periods(card.split, users, times, where)
    in_past = times < boundaries(card.split, times, where)[0] if card.split.train_from else in_train
    ever, before = takes.keys(len(catalog)), takes.where(in_past).keys(len(catalog))
    rng = Randomness(card.sampling_seed, "data")

    def clicks(period: str, inside: BoolArray, size: int) -> IntArray:
        """The rows of `size` clicks."""
        eligible = np.flatnonzero(inside & takes.has_history)
        _check_enough(len(eligible), size, period, where)
        return rng.child(period).numpy().permutation(eligible)[:size]

    def draw(period: str, rows: IntArray, exclude: IntArray, count: int) -> IntArray:
        """`[M, count]`: unclicked candidates of each click."""
        stream = rng.child(f"{period}/unclicked").numpy()
        return unseen(users[rows], exclude, len(catalog), count, stream, where=where)

    def histories(rows: IntArray) -> IntArray:
        return takes.histories(rows, card.history_length)

    def pairs(rows: IntArray, unclicked: IntArray, size: int) -> Pairs:
        """Click m beside each of `unclicked[m]`, the first `size` of them."""
        rows = np.repeat(rows, unclicked.shape[1])[:size]
        return Pairs(users[rows], histories(rows), taken[rows], unclicked.reshape(-1)[:size])

    per_click = card.negatives.train_per_click
    train = clicks("train", in_train, -(-card.train_pairs // per_click))
    valid = clicks("valid", in_valid, card.valid_pairs)
    test = clicks("test", in_test, max(card.test_pairs, card.test_impressions))
    shown = draw("test", test, ever, card.negatives.eval_per_click)
    first = test[: card.test_impressions]

    def lists(unclicked: IntArray, order: Randomness) -> Impressions:
        return Impressions(users[first], histories(first), *_mixed(taken[first], unclicked, order))

    popular = None
    if card.negatives.popular_per_click:
        stream, count = rng.child("popular"), card.negatives.popular_per_click
        popularity = np.bincount(taken[in_train], minlength=len(catalog))
        drawn = unseen_by_popularity(users[first], ever, popularity, count, stream.numpy(), where=where)
        popular = lists(drawn, stream.child("order"))
    return TaskData(
        fingerprint=fingerprint,
        catalog=catalog,
        user_count=len(known_users),
        train=pairs(train, draw("train", train, before, per_click), card.train_pairs),
        valid=pairs(valid, draw("valid", valid, ever, 1), card.valid_pairs),
        test=pairs(test, shown[:, :1], card.test_pairs),
        impressions=lists(shown[: len(first)], rng.child("order")),
        popular_impressions=popular,
        taken=Taken(ever % len(catalog), np.searchsorted(ever, np.arange(len(known_users) + 1) * len(catalog))),
    )


def _check_enough(there: int, wanted: int, period: str, where: str) -> None:
    if there < wanted:
        raise DataError(
            f"the {period} period gives {there} clicks with a history, the card asks for {wanted}",
            where=where,
            field=f"{period}_pairs" if period != "test" else "test_pairs, test_impressions",
            remedy="lower the size on the card, or move the split so that the period is longer",
        )


def _mixed(clicked: IntArray, unclicked: IntArray, rng: Randomness) -> tuple[IntArray, BoolArray, IntArray]:
    """Item m of `clicked` among `unclicked[m]` at a place that is drawn: items, labels and offsets of impressions."""
    listed = np.concatenate([clicked[:, None], unclicked], axis=1)
    order = rng.numpy().permuted(np.tile(np.arange(listed.shape[1]), (len(listed), 1)), axis=1)
    items = np.take_along_axis(listed, order, axis=1)
    offsets = np.arange(len(listed) + 1, dtype=np.int64) * listed.shape[1]
    return items.reshape(-1), (order == 0).reshape(-1), offsets


def from_impressions(items: pa.Table, impressions: pa.Table, card: TrackCard, fingerprint: str, where: str) -> TaskData:
    """The track's data from impressions, unclicked candidates being those shown in the same impression.

    Impressions without a clicked or without an unclicked candidate give no example.

    Raises
    ------
    DataError
        Where a period gives fewer examples than the card asks for.
    """
    catalog = catalog_of(items)
    rows = impressions.sort_by([("time", "ascending"), ("impression", "ascending")])
    known_users = pc.unique(rows["user"]).sort()
    ids = pa.array(catalog.ids)
    users = _codes(rows["user"], known_users)
    times: IntArray = rows["time"].to_numpy().astype(np.int64)
    history, history_offsets = _codes(pc.list_flatten(rows["history"]), ids), _offsets(rows["history"])
    shown, offsets = _codes(pc.list_flatten(rows["shown"]), ids), _offsets(rows["shown"])
    clicked: BoolArray = pc.list_flatten(rows["clicked"]).to_numpy(zero_copy_only=False)
    sizes = np.diff(offsets)
    clicks = np.bincount(np.repeat(np.arange(len(sizes)), sizes), weights=clicked, minlength=len(sizes))
    usable = (clicks > 0) & (clicks < sizes) & (np.diff(history_offsets) > 0)
    in_train, in_valid, in_test = periods(card.split, users, times, where)
    rng = Randomness(card.sampling_seed, "data")

    def histories(index: IntArray) -> IntArray:
        return cut_histories(history, history_offsets[index], history_offsets[index + 1], card.history_length)

    def pairs(period: str, inside: BoolArray, per_click: int, size: int) -> Pairs:
        stream = rng.child(period).numpy()
        owners, taken, passed = [], [], []
        for row in stream.permutation(np.flatnonzero(inside & usable)):
            listed, marks = shown[offsets[row] : offsets[row + 1]], clicked[offsets[row] : offsets[row + 1]]
            others = listed[~marks]
            for item in listed[marks]:
                chosen = stream.choice(others, size=min(per_click, len(others)), replace=False)
                owners += [int(row)] * len(chosen)
                taken += [int(item)] * len(chosen)
                passed += chosen.tolist()
            if len(owners) >= size:
                break
        _check_enough(len(owners), size, period, where)
        index = np.array(owners[:size], dtype=np.int64)
        return Pairs(users[index], histories(index), np.array(taken[:size]), np.array(passed[:size]))

    def listed(inside: BoolArray, size: int) -> Impressions:
        eligible = np.flatnonzero(inside & usable)
        _check_enough(len(eligible), size, "test", where)
        index = rng.child("impressions").numpy().permutation(eligible)[:size]
        flat = flat_indices(offsets, index)
        cuts = np.concatenate([[0], np.cumsum(sizes[index])])
        return Impressions(users[index], histories(index), shown[flat], clicked[flat], cuts)

    return TaskData(
        fingerprint=fingerprint,
        catalog=catalog,
        user_count=len(known_users),
        train=pairs("train", in_train, card.negatives.train_per_click, card.train_pairs),
        valid=pairs("valid", in_valid, 1, card.valid_pairs),
        test=pairs("test", in_test, 1, card.test_pairs),
        impressions=listed(in_test, card.test_impressions),
    )


def _offsets(lists: pa.ChunkedArray) -> IntArray:
    """`[I + 1]`: where each list begins in the flattened column."""
    out: IntArray = np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy())]).astype(np.int64)
    return out


def flat_indices(offsets: IntArray, index: IntArray) -> IntArray:
    """Where the elements of the lists at `index` lie in the flat array that `offsets [I + 1]` cuts, list after list."""
    sizes = offsets[index + 1] - offsets[index]
    ends = np.cumsum(sizes)
    out: IntArray = np.repeat(offsets[index] - (ends - sizes), sizes) + np.arange(int(sizes.sum()))
    return out
