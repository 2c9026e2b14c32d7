"""How the shipped checkpoints are made: `make checkpoints` trains, exports, scores and describes each.

Training nuclei come from simulated microscopes that differ in sharpness, noise, exposure, pixel size, crowding
and chromatin, and pass through the same steps as a user's image: found, measured, cut and normalised by
`cellcycle.predict`. Real cells, where $CELLCYCLE_REAL_DATA names them, are only tested on.
"""
