"""Networks by name, and the model that combines trained networks."""

from cellcycle.networks.architectures import (
    BLOCKS,
    DNA_CONTENT,
    NETWORKS,
    RESNET_DEPTHS,
    Network,
    build_network,
    n_parameters,
    register_network,
)
from cellcycle.networks.model import VIEWS, Encoding, Model, Scaling
from cellcycle.networks.positions import TURNS, UPRIGHT, positions_of
