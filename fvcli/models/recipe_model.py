"""The model of a recipe, ready to make what the recipe asks for."""

from __future__ import annotations

from fvcli.errors import DatasetError
from fvcli.models.embedder import Embedder
from fvcli.models.labels import Labeler
from fvcli.models.loading import load_classifier, load_model
from fvcli.models.protocol import FeatureModel
from fvcli.records import Recipe


def load_recipe_model(name: str, recipe: Recipe) -> FeatureModel:
    """The model called ``name``, from wherever it is on this machine.

    Raises ModelError, DatasetError where it is not the recipe's.
    """
    model = load_model(name, recipe.engine)
    if model.identity != recipe.model:
        raise DatasetError(
            f"the model {model.name} here ({model.identity[:12]}) is not the one the dataset is made with "
            f"({recipe.model[:12]}); use the fvcli or the model file that planned it"
        )
    return model


def embedder_of(name: str, recipe: Recipe, model: FeatureModel) -> Embedder:
    """The model with what the recipe asks for. Raises ModelError, DatasetError where the classifier is another."""
    if not recipe.labels:
        return Embedder(model, normalize=recipe.normalize)
    classifier = load_classifier(name)
    if classifier.identity != recipe.classifier:
        raise DatasetError(
            f"the classifier of {model.name} here is not the one the dataset is made with; "
            "use the fvcli or the model file that planned it"
        )
    return Embedder(model, Labeler(classifier, recipe.labels), normalize=recipe.normalize)
