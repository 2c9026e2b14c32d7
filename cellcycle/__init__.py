"""Cell-cycle phases of single DAPI-stained nuclei, from microscope images alone."""

import os

__version__ = "0.1.0"

# ONNX Runtime else tells its maker where it runs, and leaves files in the home folder; it asks when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
