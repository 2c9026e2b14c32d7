"""Prediction: any microscope image in, one row per nucleus out. It runs by ONNX Runtime, without torch.

`predict` returns one table. `Predictor` predicts image by image, if a table of all would not fit into memory.
"""

from cellcycle.images import expand
from cellcycle.predict.many import predict
from cellcycle.predict.predictor import AUTO, ImagePrediction, Predictor, Settings
from cellcycle.predict.table import table_columns
