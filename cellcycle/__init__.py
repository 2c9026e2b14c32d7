"""Cell-cycle phases of single DAPI-stained nuclei, from microscope images alone."""

__version__ = "0.1.0"
