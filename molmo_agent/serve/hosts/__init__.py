"""Our screens behind the computer tools of other agents, which name places in pixels of a screenshot."""
