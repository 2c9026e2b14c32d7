"""Networks by name, and the model made of trained ones."""

from cellcycle.networks.architectures import (
    BLOCKS,
    NETWORKS,
    RESNET_DEPTHS,
    Network,
    build_network,
    n_parameters,
    register_network,
)
from cellcycle.networks.model import N_POSITIONS, VIEWS, Encoding, Model, Scaling, turned
