"""What record can be told; it reads the run's reports from the store and writes the summary there."""

import json

from pydantic import field_validator

from components.interchange.step import Spec, param


class Record(Spec):
    """Write the run's summary and its page to the store, whatever became of the run. Kubeflow's exit handler."""

    status: str = param("How the run ended: Kubeflow's JSON object with state and error")

    @field_validator("status")
    @classmethod
    def _from_kubeflow(cls, status: str) -> str:
        """A word is a mistake at a keyboard. Of what a backend may send, a cut-off object too, no record is lost."""
        if status and not status.lstrip().startswith("{"):
            try:
                json.loads(status)
            except ValueError:
                raise ValueError('expected Kubeflow\'s JSON object, like {"state": "SUCCEEDED"}') from None
        return status
