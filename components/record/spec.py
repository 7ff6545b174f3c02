"""What record can be told; it reads the run's reports from the store and writes the summary there."""

from components.interchange.step import Spec, param


class Record(Spec):
    """Write the run's summary and its page to the store, whatever became of the run. Kubeflow's exit handler."""

    status: str = param("How the run ended: Kubeflow's JSON object with state and error")
