"""How the arrays of an agent's state are named. Without torch, so that who only keeps states starts quickly."""

from eigen2.arrays import Arrays

ONLINE = "online/"  # begins the names of a genome's arrays within a state


def genome_of(state: Arrays) -> Arrays:
    """The genome within an agent's state: the parameters of its online networks, name -> array."""
    return part_of(state, ONLINE)


def part_of(state: Arrays, prefix: str) -> Arrays:
    """The arrays of a state whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
