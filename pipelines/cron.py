"""Schedules in the usual five fields, checked, and as Kubeflow writes them: six, seconds first.

Kubeflow takes five fields without a word and reads them as second, minute, hour, …: `0 2 * * *` would mean two minutes
past every hour. So only five are taken here, and the second is added.
"""

from datetime import datetime
from zoneinfo import ZoneInfo

from components.interchange.errors import BadInput, counted

FIELDS = "minute hour day-of-month month day-of-week"
EXPECTED = f"expected five fields ({FIELDS}), like '0 2 * * 1-5' for two o'clock on working days"


def next_time(five: str, timezone: str = "UTC") -> datetime:
    """The first time that a schedule comes true from now on; BadInput unless it has five fields and ever does."""
    from cronsim import CronSim, CronSimError

    if len(five.split()) != 5:
        more = " There is none for seconds; where Kubeflow wants one, Graft adds it." if len(five.split()) == 6 else ""
        raise BadInput(f"--cron {five!r}: {counted(len(five.split()), 'fields')}; {EXPECTED}.{more}")
    try:
        return next(CronSim(five, datetime.now(ZoneInfo(timezone))))
    except CronSimError as error:
        raise BadInput(f"--cron {five!r}: {error}; {EXPECTED}.") from None
    except StopIteration:
        raise BadInput(f"--cron {five!r}: no such day ever comes; {EXPECTED}.") from None
    except (KeyError, ValueError, OSError):
        raise BadInput(f"--timezone {timezone!r}: no such time zone. Expected one like Europe/Berlin.") from None


def six_fields(five: str) -> str:
    """Kubeflow's expression of a schedule in five fields; BadInput where it is not one, or never comes true."""
    next_time(five)
    fields = five.split()
    odd = [field for field in fields if set(field.upper()) & set("L#W?")]
    odd = [field for field in odd if not field.replace(",", "-").replace("-", "").isalpha() or field.upper() in "LW?"]
    if odd:
        raise BadInput(f"--cron {five!r}: Kubeflow does not know {odd[0]!r}; {EXPECTED}.")
    if "7" in fields[4]:
        raise BadInput(f"--cron {five!r}: Kubeflow counts the days of a week from 0 (Sunday) to 6; write 0 for 7.")
    return f"0 {' '.join(fields)}"
