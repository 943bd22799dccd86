"""What a population sends between nodes, told before it is sent."""

from eigen2.config import Config
from eigen2.learning.replay import TRANSITION
from eigen2.market.market import Market
from eigen2.training.member import Member

STATE = 4  # of a genome's size: networks, their target copies, and two moments of their optimisers
STATES = 2  # sent a generation: after learning and after breeding
PARENTS = 2  # of a child, at most


def bytes_a_generation(config: Config, market: Market, members_away: int) -> int:
    """Bytes a generation to and from the driver's node for members that live elsewhere; the most it can be.

    Their states and transitions go to the vault, their samples and their parents' states come from it.
    """
    genome = sum(array.nbytes for array in Member(0, config, market, 0.0).genome().values())
    ddpg, slices = config.ddpg, config.slices
    sample = ddpg.gradient_steps_per_generation * ddpg.batch_size * ddpg.gradient_accumulation_steps
    transitions = (sample + slices.training_slices * config.slice_days) * TRANSITION.itemsize
    return members_away * (genome * STATE * (STATES + PARENTS) + transitions)
