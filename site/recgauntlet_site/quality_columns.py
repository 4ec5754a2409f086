"""Columns of ranking quality: among the candidates of impressions, among popular ones, and among all items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet_site.column import NOT_RUN, Column, Content


def quality_columns(table: TaskTable) -> tuple[Column, ...]:
    """The columns of a table. Where lists of all items stand beside them, the heads of the candidates that were drawn
    call them sampled."""
    sampled = any(row.catalog_quality for row in table.rows)
    return (
        *(map(_sampled, _QUALITY) if sampled else _QUALITY),
        *(_POPULAR if any(row.popular_quality for row in table.rows) else ()),
        *(_CATALOG if sampled else ()),
    )


def _sampled(column: Column) -> Column:
    return replace(column, note=f"{column.note}, sampled candidates".removeprefix(", "))


def _value(lists: str, field: str) -> Callable[[Row], Content]:
    """The metric `field` of the row's ranking quality on `lists`."""

    def content(row: Row) -> Content:
        quality = getattr(row, lists)
        if quality is None:
            return NOT_RUN
        value: float = getattr(quality, field)
        return Content(f"{value:.4f}", sort=f"{value:.6g}")

    return content


_column = partial(Column, group="clean ranking quality")
_among_shown, _among_popular = partial(_value, "quality"), partial(_value, "popular_quality")
_among_all = partial(_value, "catalog_quality")
_QUALITY = (
    _column("auc", "AUC", "all candidates", content=_among_shown("auc")),
    _column("gauc", "gAUC", "by user", content=_among_shown("gauc")),
    _column("impression-auc", "AUC", "by impression", content=_among_shown("impression_auc")),
    _column("mrr", "MRR", "", content=_among_shown("mrr")),
    _column("ndcg5", "nDCG@5", "", content=_among_shown("ndcg5")),
    _column("ndcg10", "nDCG@10", "", content=_among_shown("ndcg10")),
)
_POPULAR = (
    _column("auc-popular", "AUC", "popular candidates", content=_among_popular("auc")),
    _column("gauc-popular", "gAUC", "popular candidates", content=_among_popular("gauc")),
    _column("mrr-popular", "MRR", "popular candidates", content=_among_popular("mrr")),
    _column("ndcg5-popular", "nDCG@5", "popular candidates", content=_among_popular("ndcg5")),
    _column("ndcg10-popular", "nDCG@10", "popular candidates", content=_among_popular("ndcg10")),
)
_CATALOG = (
    _column("recall10-catalog", "Recall@10", "all items", content=_among_all("recall10")),
    _column("ndcg10-catalog", "nDCG@10", "all items", content=_among_all("ndcg10")),
    _column("mrr-catalog", "MRR", "all items", content=_among_all("mrr")),
)
