"""How the shipped models are made: `make checkpoints` trains, exports, calibrates and scores each.

Training nuclei come from simulated microscopes that differ in sharpness, noise, exposure, pixel size, crowding and
chromatin, and become inputs by the same steps as a user's image. Real cells, where $CELLCYCLE_REAL_DATA names them,
are only tested on; but for the models of `real.REAL`, which learn from them by `cellcycle train`.
"""
