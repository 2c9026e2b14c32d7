"""Any microscope image in, one row a nucleus out. Runs by ONNX Runtime; needs no torch.

`predict` gives one table; `predict_each` goes image by image, for more of them than fit into memory.
"""

from cellcycle.predict.paths import expand
from cellcycle.predict.stream import (
    ImagePrediction,
    Predictor,
    Settings,
    predict,
    predict_each,
    table_columns,
)

__all__ = ["ImagePrediction", "Predictor", "Settings", "expand", "predict", "predict_each", "table_columns"]
