"""Models that answer a goal and a screenshot with an action in their own published words."""
