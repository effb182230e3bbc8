"""Where a symbolic link of a tree leads, other links of the tree on its way included. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

MOST_LINKS = 40  # on the way of one; Linux then says that it leads nowhere


class LeadsOut(Exception):
    """It leads out of the tree."""


def climbs_late(target: str) -> bool:
    """Whether `..` comes after a name, which may be another link: then only following it tells.

    A link that climbs only at its beginning, from directories that are no links, stays in the tree
    as long as all the others do.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    return ".." in parts[parts.count("..") :]


def follow(name: str, links: Mapping[str, str], trusted: Collection[str], steps: int) -> int:
    """Follow a link to its end, as far as the tree has links.

    Args:
        name: of the link.
        links: all of the tree, with where they lead.
        trusted: those that may lead out.
        steps: how many may be taken.

    Returns:
        How many are left; negative where they did not suffice.

    Raises:
        LeadsOut: it leaves the tree.
    """
    place: list[str] = []
    ahead = name.split("/")[::-1]
    followed = 0
    while ahead and steps >= 0 and followed <= MOST_LINKS:
        steps -= 1
        part = ahead.pop()
        if part == "..":
            if not place:
                raise LeadsOut
            place.pop()
        elif part not in ("", "."):
            place.append(part)
            here = "/".join(place)
            if here in trusted:
                return steps
            if here in links:
                if links[here].startswith("/"):
                    raise LeadsOut
                followed += 1
                place.pop()
                ahead += links[here].split("/")[::-1]
    return steps
