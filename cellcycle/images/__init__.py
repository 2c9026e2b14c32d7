"""Any microscope file becomes one 2-D float32 plane with its pixel size and bit depth.

`read_plane` answers two questions about a file by fixed rules, or refuses in one line.

Which channel is the DNA? The one that `channel` names (index from 0, name or part of a name). Without it, in
order: the only channel; the only one named after a DNA stain; the only one that is not empty; if several show the
same picture (gray stored as RGB, or one artificial colour), the one with most contrast, where scale bars and letters
drawn into it do not count. Otherwise an `ImageError` lists the channels. Colours are never mixed, alpha is dropped.

Which plane? A z-stack, or unlabelled pages that look like one, are reduced to their maximum projection; `plane` picks
one instead. ImageJ slices without a stated spacing count as pages; slices named after several stains are channels. In
a z-stack of a TIFF or OME-Zarr, neighbours closer than the height of a nucleus must show the same objects, blurred or
not. In a time series `plane` must pick the time point. A file of several fields, of one size or not, is refused.

Integers of 8 and 16 bits are divided by the full range of their type, so 16 bits stay 16 bits and exposures stay
comparable. Integers of 32 and 64 bits, and floats above 1, are counts of the smallest full range that holds them.
"""

from cellcycle.images.listing import expand, list_images
from cellcycle.images.planes import Plane, read_numbers, read_plane
from cellcycle.images.writing import write_image
