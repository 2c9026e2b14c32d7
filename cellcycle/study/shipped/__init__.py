"""How the shipped models are made: `make checkpoints` trains, exports, calibrates and scores each.

Training nuclei come from simulated microscopes that differ in sharpness, noise, exposure, pixel size, crowding and
chromatin; they become inputs by the same steps as a user's image. $CELLCYCLE_REAL_DATA names the folder of real cells:
recipes with `real` and the models of `real.REAL` also learn from them, the others are only tested on them.
"""
