"""Nuclei in images of a DNA stain, fields and crops: label images, measurements and quality flags."""

from cellcycle.segmentation.crops import central_nucleus, find_in_crop, looks_like_nucleus_crop, measure_crops
from cellcycle.segmentation.fields import find_in_field, looks_inverted, segment
from cellcycle.segmentation.measurements import measure

# Increase it whenever a crop gives other measurements than before: records of models that measure depend on it.
VERSION = "2"
