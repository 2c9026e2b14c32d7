"""The recipe `best` of notebook 09, which the study trains and `cellcycle train` starts from."""

# Arguments of `NetworkClassifier`; what each part adds is measured in notebook 09. Nuclei of rare classes are repeated,
# not altered, until classes are equal. Measurements are those of the input rule; the study counts its own epochs.
BEST = {
    "network": "nagao4",
    "width": 16,
    "dropout": 0.3,
    "batch_norm": True,
    "views": ("shape", "shape"),
    "turns": True,
    "schedule": "cosine",
    "weight_decay": 1e-2,
    "learning_rate": 1e-3,
    "batch_size": 32,
    "training_set": "D3",
    "copies": 0,
    "epochs": 24,
}
