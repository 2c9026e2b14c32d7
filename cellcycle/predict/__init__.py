"""Any microscope image in, one row a nucleus out. Runs by ONNX Runtime; needs no torch.

`predict` gives one table; `predict_each` goes image by image, for more of them than fit into memory. Which model
looks at an image under `model="auto"` is said in `cellcycle.predict.predictor`.
"""

from cellcycle.images import expand
from cellcycle.predict.many import predict, predict_each
from cellcycle.predict.predictor import AUTO, ImagePrediction, Predictor, Settings
from cellcycle.predict.table import table_columns
