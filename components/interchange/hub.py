"""Whether the hub that timm takes weights from answers, asked before timm asks.

Left to itself, Hugging Face's client asks six times for each of two files, 46 seconds and 22 lines long, and then does
not say what went wrong.
"""

import logging
import time
from http.client import HTTPException

log = logging.getLogger("graft")
TRIES, PAUSE_S = 3, 1.0
FILES = ("model.safetensors", "pytorch_model.bin")  # What timm looks for, in this order.
BUSY = (408, 429, 500, 502, 503, 504)


def hub_errors() -> tuple[type[Exception], ...]:
    """What goes wrong on the way to a hub: of its client's HTTP library, which it has changed twice, of Python's own
    and of the system. What else is raised is a fault of the code.
    """
    from huggingface_hub import errors

    of_client: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
    return (of_client, HTTPException, OSError)


def wait_for_hub(repository: str) -> None:
    """Return when the hub has answered, whatever it says, or the weights are in its cache on this machine.

    `repository` is timm's, as `timm/resnet18.a1_in1k`, perhaps with `@revision`. ConnectionError with the reason when
    none of three tries had an answer.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    name, _, revision = repository.partition("@")
    if any(isinstance(try_to_load_from_cache(name, file, revision=revision or None), str) for file in FILES):
        return
    for number in range(1, TRIES + 1):
        try:
            get_hf_file_metadata(hf_hub_url(name, FILES[0], revision=revision or None))
            return
        except OfflineModeIsEnabled as error:
            raise ConnectionError(str(error)) from None
        except HfHubHTTPError as error:
            if error.response.status_code not in BUSY:
                return
            reason = f"HTTP {error.response.status_code}"
        except hub_errors() as error:
            reason = str(error) or type(error).__name__
        if number == TRIES:
            raise ConnectionError(f"{constants.ENDPOINT} does not answer: {reason}")
        pause_s = PAUSE_S * number
        log.warning("%s does not answer (%s), try %d of %d", constants.ENDPOINT, reason, number, TRIES)
        time.sleep(pause_s)
