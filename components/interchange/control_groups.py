"""Where Linux says what a container may use: the control groups of this process."""

from pathlib import Path

OWN_GROUPS, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def groups_of(controller: str, own: Path = OWN_GROUPS, mounted: Path = GROUPS) -> list[Path]:
    """Folders of this process's group and of those around it, for a controller of version 1, and of version 2.

    `own` names the groups, which lie below `mounted`; not every folder need be there. What counts is the least limit of
    all of them (the kernel's documentation, cgroup-v1 and cgroup-v2).
    """
    found: list[Path] = []
    for line in own.read_text().splitlines() if own.is_file() else []:
        _, controllers, place = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            top = mounted / controller if controllers else mounted
            group = top / place.lstrip("/")  # In a container it may be the host's name: then only the top is there.
            found += [folder for folder in (group, *group.parents) if folder.is_relative_to(top)]
    return found
