"""Whether rules and a market leave an agent a choice, and let it invest its capital."""

from eigen2.config import RulesConfig

_IDLE = 0.9  # a share of the capital: worth a warning where less can ever be invested


def geometry_warnings(rules: RulesConfig, stocks: int) -> tuple[str, ...]:
    """Warnings, a sentence each, where the number of stocks rather than the agent decides what happens."""
    held = rules.max_holding_period
    if held < stocks:
        return ()
    lower = f"lower rules.max_holding_period below {stocks} or add stocks" if stocks > 1 else "add stocks"
    found = [
        f"rules.max_holding_period is {held}, and {_counted(stocks)} may be bought: with one purchase a day each can "
        f"be bought again as soon as it is sold, so there is nothing to choose; {lower}"
    ]
    share = stocks / (held + rules.fill_lag)
    if share < _IDLE:
        found.append(
            f"a purchase gets at most 1/{held + rules.fill_lag} of the capital and {_counted(stocks)} may be held: "
            f"never more than {100 * share:.1f} % is invested; lower rules.max_holding_period or add stocks"
        )
    return tuple(found)


def _counted(stocks: int) -> str:
    return "1 stock" if stocks == 1 else f"{stocks} stocks"
