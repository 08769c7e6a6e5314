"""The kinds of data that the actions read and write; config.yaml names them."""

from synapse_sdk.plugins.types import Dataset, ModelWeights


class TableDataset(Dataset):
    """A folder with train.csv and test.csv."""

    name = "table_dataset"
    format = "csv"
    description = "Rows of a label and numbers"


class ClassifierWeights(ModelWeights):
    """A JSON file with labels and weights."""

    name = "classifier_weights"
    format = "json"
    description = "Labels and weights of a classifier"
