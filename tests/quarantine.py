"""What a dataset's ledger says of the files that were left out."""

from components.interchange.dataset import Dataset
from components.interchange.ledgers import QUARANTINE_FILE, QUARANTINE_SCHEMA, Quarantined, read_table


def quarantined(dataset: Dataset) -> list[Quarantined]:
    """Every file that was not taken, with the reason, sorted by path."""
    return [Quarantined._make(row) for row in read_table(dataset.folder / QUARANTINE_FILE, QUARANTINE_SCHEMA)]
