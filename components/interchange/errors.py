"""Errors a user can mend: one readable message, exit code 2, no traceback."""

import difflib
import errno
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

SHOWN = 5
LONGEST = 1000
# Of the CPU's allocator, of CUDA and torch's own error for it, of cuBLAS and cuDNN.
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
# Of oneDNN; "could not create a primitive descriptor" is another error.
ONEDNN = ("could not create a primitive", "could not create a memory object")

# Of an integer of more than 4,300 digits: nothing that whoever wrote it can use.
FOR_PROGRAMMERS = "; use sys.set_int_max_str_digits() to increase the limit"


class BadInput(Exception):
    """Something given to Graft is wrong. The message says what was found, what was expected, where to change it."""


def in_words(error: BaseException) -> str:
    """In a line, what a user can mend, and how; empty where an error is another one: that is a crash."""
    return on_one_line(_words(error).replace(FOR_PROGRAMMERS, ""))


def _words(error: BaseException) -> str:
    if isinstance(error, BadInput):
        return str(error)
    if disk_is_full(error):
        return f"no space left on the disk ({error}); nothing was published. Make room."
    if memory_ran_out(error):
        return f"memory ran out ({error}); nothing was published. Take more of it, or a smaller backbone or batch."
    return refused_by_the_system(error) or missing_package(error)


def disk_is_full(error: BaseException | None) -> bool:
    """Whether an error is for want of room on a disk, whichever library says so and in whatever it is wrapped."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "no space left on device" in str(error).lower():
            return True
        error = error.__cause__ or error.__context__
    return False


def refused_by_the_system(error: BaseException) -> str:
    """In a line, which file the system refuses to read or write, and why; empty where an error is another one."""
    if not isinstance(error, OSError) or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ""
    found = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return f"{found}. Whoever runs this must be allowed to read, or write, there."


def missing_package(error: BaseException) -> str:
    """In a line, which package of others is not installed, or not as another needs it; empty where an error is another
    one.
    """
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    if name is None or name.split(".")[0] in ("components", "pipelines"):
        return ""
    package = name.split(".")[0]
    if package != name and find_spec(package) is not None:
        return f"the {package} that is installed has no {name}: it does not fit a package beside it. Upgrade both."
    return f"the package {name} is not installed. `graft doctor` names what to install for which work."


def memory_ran_out(error: BaseException) -> bool:
    """Whether an error is for want of memory, the machine's or a GPU's.

    torch has an error of its own only for what its allocator asked of CUDA, and sentences for the rest.
    """
    said = str(error)
    words = any(words in said for words in OUT_OF_MEMORY) or said.endswith(ONEDNN)
    return (isinstance(error, RuntimeError) and words) or isinstance(error, MemoryError)


def what_is_wrong(error: ValueError) -> str:
    """In one line: the fields that a pydantic ValidationError names, each with what is wrong; another error's words."""
    problems: Any = getattr(error, "errors", list)()
    where = ((".".join(map(str, one["loc"])), one["msg"][:1].lower() + one["msg"][1:]) for one in problems)
    return listed(f"{name} ({words})" if name else words for name, words in where) or str(error)


def counted(number: int, word: str) -> str:
    """`1 thread`, `1 class`, `1,000 runs`: `word` is the plural."""
    return f"{number:,} {word.removesuffix('es' if word.endswith('sses') else 's') if number == 1 else word}"


def listed(offenders: Iterable[object]) -> str:
    """All offenders in one line, capped at five and counted: `a, b, c, d, e and 7 more`; of a long one, both ends."""
    names = [on_one_line(_ends(str(name))) for name in offenders]
    shown = ", ".join(names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"


def _ends(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[-LONGEST // 4 :]}"


def on_one_line(name: str) -> str:
    """A name with what would break the line, or steer the terminal, escaped."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in name)


def near(word: str, known: Iterable[str]) -> str:
    """Known names that look like `word`, as the end of an error message: ` Close: resnet18, resnet34.`"""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f" Close: {', '.join(close)}." if close else ""
