"""The columns of the DataFrames of a release: their names, dtypes, units and meanings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Column(NamedTuple):
    """A column of a DataFrame: its name, its pandas dtype, the unit of its values, and what they mean."""

    name: str
    dtype: str
    unit: str
    meaning: str


_CELL = (
    Column("release", "string", "", "name of the release, or of the directory if it is not frozen"),
    Column("task", "string", "", "id of the task"),
    Column("track", "string", "", "`standard` or `demo`"),
    Column("model", "string", "", "registered name of the recommender"),
    Column("defense", "string", "", "stored name of the defense; `standard` is none (shown as undefended)"),
    Column("seed", "int64", "", "of the training"),
    Column("threat", "string", "", "id of the threat"),
    Column("tier", "string", "", "stored name: `low`, `standard` (shown as medium) or `high`"),
)
"""What names an observation; the same in both DataFrames."""

COLUMNS: tuple[Column, ...] = (
    *_CELL,
    Column("status", "string", "", "`ok`, or `failed`: the training or the evaluation ended in an error"),
    Column("applicable", "boolean", "", "whether the model reads what the threat changes"),
    Column("clean_accuracy", "float64", "share", "test examples right on the clean input"),
    Column("robust_accuracy", "float64", "share", "test examples right on the clean input and on all that was found"),
    Column("retained", "float64", "share", "`robust_accuracy / clean_accuracy`; 0 where nothing was right"),
    Column(
        "attack_success",
        "float64",
        "share",
        "of the examples right on the clean input that the threat may attack, those that attacks turned wrong; missing "
        "where there were none",
    ),
    Column(
        "certified_accuracy", "float64", "share", "proved right on every legal input; missing where nothing is proved"
    ),
    Column(
        "exposure_kept",
        "float64",
        "share",
        "of the ads in the first ten places of lists, what edited histories leave; the ads are simulated; "
        "of threats with the goal `suppress-set` alone",
    ),
    Column(
        "examples",
        "Int64",
        "examples",
        "test examples behind the shares, two a pair; fewer where a cell was attacked on its first pairs alone",
    ),
    Column("surface", "string", "", "what is changed: `candidate-text`, `history`, `embedding` or `training-data`"),
    Column(
        "goal",
        "string",
        "",
        "`flip` any right answer, `promote` unclicked candidates or target items, or `suppress-set` (fewer ads)",
    ),
    Column("ranked", "boolean", "", "whether the threat counts for ranks"),
    Column("amount", "float64", "words, edits or radius", "the tier's cap; a radius is relative to the embeddings"),
    Column("characters", "Int64", "characters", "the tier's other cap, where characters may be edited; else 0"),
    Column("queries", "Int64", "queries an example", "the tier's cap on scored inputs"),
    Column("violations", "Int64", "inputs", "perturbed inputs that the verifier refused"),
    Column("failed_gates", "string", "", "failed sanity checks, with `;` between"),
    Column("auc", "float64", "share", "AUC over all candidates of the clean impressions"),
    Column("ndcg10", "float64", "share", "nDCG@10 on the clean impressions, mean"),
    Column(
        "auc_popular",
        "float64",
        "share",
        "as `auc`, with unclicked candidates drawn by popularity; missing where the task has none",
    ),
    Column("ndcg10_popular", "float64", "share", "as `ndcg10`, in the same way"),
    Column(
        "recall10_catalog",
        "float64",
        "share",
        "recall@10 of clean clicks among all items that the user never took, one list for 15 test pairs; missing where "
        "the task has real impressions",
    ),
    Column("ndcg10_catalog", "float64", "share", "nDCG@10 in the same way"),
    Column("training_seconds", "float64", "seconds", "of the training steps, on the clock"),
    Column("training_flops", "float64", "FLOPs", "of the training, by torch's counter"),
    Column("seconds_ratio", "float64", "ratio", "to the undefended twin; missing on the twin"),
    Column("flops_ratio", "float64", "ratio", "to the undefended twin; missing on the twin"),
    Column("peak_memory_bytes", "float64", "bytes", "at most in use during training"),
    Column("parameters", "Int64", "parameters", "of the model"),
    Column("attack_seconds", "float64", "seconds", "that the attacks took at this tier"),
    Column(
        "words_changed",
        "float64",
        "words",
        "median over the edits of texts that broke an example at this tier or below",
    ),
    Column("characters_changed", "float64", "characters", "the same"),
    Column("perplexity_ratio", "float64", "ratio", "the same, of edited to clean text; missing where not measured"),
    Column("cosine", "float64", "", "the same, between sentence vectors of edited and clean text"),
    Column(
        "stay_broken",
        "float64",
        "share",
        "of the broken examples, those whose edit is natural; a filter after the search",
    ),
    Column("model_version", "string", "", "of the package that ships the model"),
    Column("model_hyperparameters", "string", "JSON", "of the model, all of them"),
    Column("defense_version", "string", "", "of the package that ships the defense"),
    Column("defense_hyperparameters", "string", "JSON", "of the defense, all of them"),
    Column("task_version", "int64", "", "of the task's card"),
    Column("suite", "string", "", "id and version of the attack suite"),
    Column("task_fingerprint", "string", "SHA-256", "of the card"),
    Column("data_fingerprint", "string", "SHA-256", "of the data"),
    Column("suite_fingerprint", "string", "SHA-256", "of the suite and the evaluator's limits"),
    Column("examples_fingerprint", "string", "SHA-256", "of the test examples"),
    Column("device", "string", "", "that the cell ran on"),
    Column("row", "string", "", "id of the leaderboard's row"),
    Column("record", "string", "SHA-256", "digest of the record"),
)
"""One row a task, track, model, defense, seed, threat and tier."""

EXAMPLE_COLUMNS: tuple[Column, ...] = (
    *(Column(c.name, c.dtype if c.dtype == "int64" else "category", c.unit, c.meaning) for c in _CELL),
    Column("example", "int64", "", "index of the test example, the same in all records of a task"),
    Column("pair", "int64", "", "the two examples shown to one user: resample pairs, not examples"),
    Column("clicked", "bool", "", "the label"),
    Column("clean_score", "float32", "logits", "of the unchanged input; above 0 means clicked"),
    Column("clean_right", "bool", "", "whether that is right"),
    Column("robust", "bool", "", "right on the clean input and on all that was found at this tier or below"),
    Column("certified", "boolean", "", "proved right on every legal input; missing where nothing is proved"),
    Column("broken_by", "category", "", "the attack that broke it first; missing where none did"),
    Column("words_changed", "Int64", "words", "by that attack's edit of the text; missing where no text was edited"),
    Column("characters_changed", "Int64", "characters", "the same"),
    Column("perplexity_ratio", "Float32", "ratio", "of the edited to the clean text; missing where not measured"),
    Column("cosine", "Float32", "", "between sentence vectors of both"),
    Column("row", "category", "", "id of the leaderboard's row"),
)
"""One row a test example of each task, track, model, defense, seed, threat and tier."""


def documentation(columns: Sequence[Column]) -> str:
    """The columns as a table in Markdown: what docs/results/citing.md holds."""
    lines = ["| column | unit | meaning |", "|---|---|---|"]
    lines += [f"| `{c.name}` | {c.unit} | {c.meaning} |" for c in columns]
    return "\n".join(lines) + "\n"
