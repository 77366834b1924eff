"""One training: measure on what is held out, then fit on everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from reco_svc.index.movie_index import MovieIndex
from reco_svc.ranking.model import Factors, user_vector
from reco_svc.training.elsa import ElsaConfig, train_elsa
from reco_svc.training.interactions import InteractionMatrix
from reco_svc.training.metrics import measure_rankings, popularity_rankings
from reco_svc.training.split import HELD_OUT_FRACTION, held_out_mask

_LIST = 10


class NothingToTrainOnError(ValueError):
    """No user has two movies, so nothing can be learnt."""


@dataclass(frozen=True, slots=True)
class TrainerConfig:
    """What can be chosen about a training.

    Attributes:
        seed: Decides the split and everything random in the trainer.
        holdout_fraction: Share of each user's interactions to measure on; 0: do not measure.
        elsa: The model; its seed is replaced by `seed`.
    """

    seed: int = 0
    holdout_fraction: float = HELD_OUT_FRACTION
    elsa: ElsaConfig = ElsaConfig()  # noqa: RUF009  # frozen


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The outcome of a training.

    Attributes:
        factors: Fitted on everything.
        metrics: Measured on the held-out part with a model that had not seen it.
        parameters: How it was trained.
    """

    factors: Factors
    metrics: Mapping[str, float]
    parameters: Mapping[str, str]


def train(
    interactions: InteractionMatrix,
    config: TrainerConfig,
    progress: Callable[[float], None] | None = None,
) -> TrainedModel:
    """Trains a model.

    Args:
        interactions: Everything there is.
        config: How to train.
        progress: Told the share that is done, 0 to 1; an exception it raises ends the training.

    Raises:
        NothingToTrainOnError: No user has two movies.
    """
    if not len(interactions.indptr) or interactions.row_lengths().max(initial=0) < 2:
        raise NothingToTrainOnError("no user has interacted with two movies")
    elsa = replace(config.elsa, seed=config.seed)
    rounds = 2 if config.holdout_fraction else 1

    def report(done_rounds: int) -> Callable[[int, int, float], None]:
        def epoch(done: int, total: int, _: float) -> None:
            if progress is not None:
                progress((done_rounds + done / total) / rounds)

        return epoch

    metrics: dict[str, float] = {}
    if config.holdout_fraction:
        rows = interactions.entry_rows()
        held_out = held_out_mask(
            [interactions.user_ids[row] for row in rows],
            [interactions.movie_ids[column] for column in interactions.indices],
            seed=config.seed,
            fraction=config.holdout_fraction,
        )
        kept = interactions.where(~held_out)
        metrics = _measure(train_elsa(kept, elsa, report(0)), kept, interactions.where(held_out))
    factors = train_elsa(interactions, elsa, report(rounds - 1))
    return TrainedModel(
        factors,
        metrics,
        {
            "trainer": "elsa",
            "dimension": str(elsa.factors),
            "epochs": str(elsa.epochs),
            "batch_size": str(elsa.batch_size),
            "learning_rate": f"{elsa.learning_rate:g}",
            "dropout": f"{elsa.dropout:g}",
            "activity_exponent": f"{elsa.activity_exponent:g}",
        },
    )


def rank_for_everyone(factors: Factors, known: InteractionMatrix, k: int) -> dict[int, list[int]]:
    """Returns for each user row the `k` best movie columns that they do not know.

    Searches the way the service does, exactly.

    Args:
        factors: A model of the movies of `known`, in any order.
        known: What each user is known to have interacted with.
        k: How many.
    """
    index = MovieIndex(factors, kind="exact")
    rankings = {}
    for user in range(known.n_users):
        # Rows of an index and columns of a matrix are both in ascending order of the ids.
        columns, weights = known.row(user)
        best, _ = index.search(user_vector(index.factors, columns, weights), k, excluded=columns)
        rankings[user] = best.tolist()
    return rankings


def _measure(
    factors: Factors, known: InteractionMatrix, held_out: InteractionMatrix
) -> dict[str, float]:
    relevant = {
        user: {int(column) for column in held_out.row(user)[0]} for user in range(held_out.n_users)
    }
    seen = {user: {int(c) for c in known.row(user)[0]} for user in range(known.n_users)}
    served = measure_rankings(
        rank_for_everyone(factors, known, _LIST), relevant, catalogue_size=known.n_movies, k=_LIST
    )
    popular = measure_rankings(
        popularity_rankings(seen, relevant, k=_LIST),
        relevant,
        catalogue_size=known.n_movies,
        k=_LIST,
    )
    return {
        f"ndcg@{_LIST}": served.ndcg,
        f"recall@{_LIST}": served.recall,
        f"coverage@{_LIST}": served.coverage,
        f"popularity.ndcg@{_LIST}": popular.ndcg,
        f"popularity.recall@{_LIST}": popular.recall,
        f"popularity.coverage@{_LIST}": popular.coverage,
    }
