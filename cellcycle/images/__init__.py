"""Any microscope file becomes one 2-D float32 plane with its pixel size and bit depth.

`read_plane` answers two questions about a file by fixed rules, or refuses in one line.

Which channel is the DNA? The one that `channel` names (index from 0, name or part of a name). Without it, in
order: the only channel; the only one named after a DNA stain; the only one that is not empty; any of several
that show the same picture (gray stored as RGB, or one artificial colour), but for scale bars and letters drawn into
it. Otherwise an `ImageError` lists the channels. Colours are never mixed by luminance, alpha is dropped.

Which plane? A z-stack, and pages without a label that look like one, give their maximum projection; `plane` picks
one instead. Slices of ImageJ that state no spacing count as pages, those named after several stains as channels. Of a
z-stack in a TIFF or OME-Zarr neighbours closer than nuclei are high must show each other, blurred or not. Of a time
series `plane` must pick the time point. A file of several fields of view, of one size or not, is refused.

Integers of 8 and 16 bits are divided by the full range of their type, so 16 bits stay 16 bits and exposures stay
comparable; those of 32 and 64 bits, and floats above 1, are counts of the smallest range that holds them.
"""

from cellcycle.images.listing import expand, list_images
from cellcycle.images.planes import Plane, read_numbers, read_plane
from cellcycle.images.writing import write_image
