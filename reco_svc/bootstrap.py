"""The recommendation service, wired."""

from __future__ import annotations

import asyncio

from marquee.reco.v1 import (
    catalog_service_pb2_grpc,
    interaction_service_pb2_grpc,
    model_service_pb2_grpc,
    personal_data_service_pb2_grpc,
    recommendation_service_pb2_grpc,
)

from mesh.app import Application, Component
from mesh.kafka import topics
from mesh.messaging import Messaging
from mesh.mongo.database import open_database
from mesh.mongo.follow import Follower
from mesh.outbox.store import Outbox
from mesh.server import Registration
from reco_svc.consumers import PeopleConsumer, RefreshConsumer
from reco_svc.index.movie_index import use_one_thread_per_search
from reco_svc.rpc.catalog import CatalogServicer
from reco_svc.rpc.interactions import InteractionServicer
from reco_svc.rpc.models import ModelServicer
from reco_svc.rpc.personal_data import PersonalDataServicer
from reco_svc.rpc.recommendations import RecommendationServicer
from reco_svc.service.catalog import CatalogService
from reco_svc.service.interactions import InteractionService
from reco_svc.service.models import ModelService
from reco_svc.service.people import PeopleService
from reco_svc.service.recommend import RecommendService
from reco_svc.service.refresh import RefreshRules, RefreshService
from reco_svc.serving import ServingIndex, ServingPopularity
from reco_svc.settings import RecoSettings
from reco_svc.store import schema
from reco_svc.store.interactions import InteractionStore
from reco_svc.store.models import EmbeddingStore, ModelStore
from reco_svc.store.movies import Catalog, MovieStore
from reco_svc.store.people import ProfileStore, ToldListStore
from reco_svc.store.personal_data import PersonalDataStore
from reco_svc.trainer_process import TrainerProcess

NAME = "marquee-reco"

# The embedded database counts embeddings one by one, so the sweep behind the streams is a rare one.
_MODELS_SWEEP_SECONDS = 30.0


async def bootstrap(settings: RecoSettings) -> Application:
    """Builds the service.

    Raises:
        NotAReplicaSetError: The database has no transactions.
        PyMongoError: The database does not answer or refuses.
    """
    use_one_thread_per_search()
    failure, draining = asyncio.Event(), asyncio.Event()
    mongo = await open_database(settings.mongodb_uri, schema.DATABASE, schema.SPECS, app_name=NAME)
    database = mongo.database
    outbox = Outbox(mongo.client, database)
    movies, interactions = MovieStore(database), InteractionStore(database)
    models, embeddings = ModelStore(database), EmbeddingStore(database)
    profiles, told_lists = ProfileStore(database), ToldListStore(database)

    catalog = Catalog(movies)
    serving = ServingIndex(models, embeddings)
    popularity = ServingPopularity(interactions, settings.popularity_half_life_days)
    follow_catalog = Follower(database, [schema.MOVIES], catalog.refresh)
    follow_models = Follower(
        database,
        [schema.SERVING, schema.EMBEDDINGS],
        serving.refresh,
        sweep_seconds=_MODELS_SWEEP_SECONDS,
    )
    trainer = TrainerProcess(models)

    recommend = RecommendService(serving, interactions, profiles, popularity, catalog)
    refresh = RefreshService(
        outbox,
        told_lists,
        interactions,
        recommend,
        catalog,
        rules=RefreshRules(
            settings.refresh_size, settings.refresh_new, settings.refresh_debounce_seconds
        ),
        serving_version=lambda: serving.version,
        promoted_version=models.serving_version,
        ending=draining.is_set,
    )
    model_service = ModelService(
        outbox,
        models,
        trainer,
        has_interactions=interactions.any,
        index_status=serving.status,
        promoted=follow_models.wake,
    )

    messaging = Messaging(settings, NAME, failure=failure)
    messaging.relay(outbox)
    messaging.consume(
        "marquee-refresher",
        [topics.INTERACTION_EVENTS, topics.MODEL_EVENTS],
        RefreshConsumer(refresh).handle,
    )
    messaging.consume(
        "marquee-reco",
        [topics.USER_EVENTS],
        PeopleConsumer(PeopleService(outbox, profiles, interactions, told_lists)).handle,
    )

    registrations = [
        Registration(
            "marquee.reco.v1.CatalogService",
            CatalogServicer(CatalogService(outbox, movies, catalog)),
            catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server,
        ),
        Registration(
            "marquee.reco.v1.InteractionService",
            InteractionServicer(InteractionService(outbox, interactions, catalog, popularity)),
            interaction_service_pb2_grpc.add_InteractionServiceServicer_to_server,
        ),
        Registration(
            "marquee.reco.v1.RecommendationService",
            RecommendationServicer(recommend, catalog),
            recommendation_service_pb2_grpc.add_RecommendationServiceServicer_to_server,
        ),
        Registration(
            "marquee.reco.v1.ModelService",
            ModelServicer(model_service),
            model_service_pb2_grpc.add_ModelServiceServicer_to_server,
        ),
        Registration(
            "marquee.reco.v1.PersonalDataService",
            PersonalDataServicer(PersonalDataStore(database)),
            personal_data_service_pb2_grpc.add_PersonalDataServiceServicer_to_server,
        ),
    ]
    components: list[Component] = [
        mongo,
        follow_catalog,
        follow_models,
        popularity,
        trainer,
        *messaging.components,
    ]
    return Application(registrations, components, failure=failure, draining=draining)
