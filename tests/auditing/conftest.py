"""The material that the audit's tests judge: records around five corners, and good samples."""

import pytest
import torch

from likewise.auditing.material import Losses, Material, Reference
from likewise.core.condition import Labels
from likewise.evaluation.features import FeatureSet
from likewise.evaluation.groups import Group, train_classifier
from tests.auditing.corners import NAMES, SPACE, fit, log_density, points
from tests.toys import ToySource


@pytest.fixture(scope="session")
def material():
    train, labels = points(1500, 0)
    c = {"label": (labels, torch.ones(len(labels), dtype=torch.bool))}
    conditions = (Labels(names=NAMES),)
    source = ToySource(train, c, SPACE, conditions)
    features = FeatureSet.train(source, SPACE, conditions, fit=fit, seed=0, n_eval=300, steps=200)
    valid, test = points(300, 20_000), points(300, 30_000)
    held_out = torch.cat([valid[1], test[1]])
    label = Group(classifier=features.classifier, train=labels, held_out=held_out)
    sides = [label.train < 2, held_out < 2]  # a column: at one of the first two corners?
    group = Group(
        classifier=train_classifier(
            Labels(name="side", names=("no", "yes")),
            sides[0].long(),
            source,
            fit=fit,
            seed=0,
            steps=100,
        ),
        train=sides[0].long(),
        held_out=sides[1].long(),
    )
    reference = Reference(
        train=train,
        valid=valid[0],
        test=test[0],
        features=features,
        label=label,
        groups=(group,),
    )
    losses = Losses(*(log_density(x) for x in (train[:500], valid[0], test[0])))
    return Material(samples=points(1000, 40_000)[0], reference=reference, losses=losses)
