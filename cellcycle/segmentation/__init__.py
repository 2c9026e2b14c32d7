"""Fields of DNA stain become nuclei: masks, crops, measurements and quality flags."""

from cellcycle.segmentation.crops import central_nucleus, find_in_crop, looks_like_nucleus_crop, measure_crops
from cellcycle.segmentation.fields import find_in_field, looks_inverted, segment
from cellcycle.segmentation.measurements import measure

# Bumped whenever the same crop gives other measurements: records of models that measure depend on it.
VERSION = "2"
