"""Any microscope image in, one row a nucleus out. Runs by ONNX Runtime; needs no torch.

`predict` gives one table; `Predictor` goes image by image, for more of them than fit into memory, and says which model
looks at an image under `model="auto"`.
"""

from cellcycle.images import expand
from cellcycle.predict.many import predict
from cellcycle.predict.predictor import AUTO, ImagePrediction, Predictor, Settings
from cellcycle.predict.table import table_columns
