"""The planners by name."""

from molmo_agent.errors import UnknownNameError
from molmo_agent.policies.planner.briefing import Planner
from molmo_agent.policies.planner.rules import RulesPlanner


def load_planner(name: str) -> Planner:
    """Make a planner: "rules", or the address of a model on a server.

    Raises:
        UnknownNameError: there is no such planner.
        UsageError: the address is not one, an option is malformed, or a key would be sent in clear.
        ModelError: the extra is not installed, or the proxy cannot be used.
    """
    if name == "rules":
        return RulesPlanner()
    if "://" in name or "@" in name:
        # Imported when it is needed: it loads the client of servers.
        from molmo_agent.policies.planner.served import ServedPlanner

        return ServedPlanner.from_address(name)
    raise UnknownNameError("planner", name, ("rules", "http://host:8000/v1#model"))
