"""Train one model with scikit-learn's interface, or many by cross-validation in parallel processes."""

from cellcycle.training.classifier import NetworkClassifier
from cellcycle.training.runs import cross_validate, make_estimator
