"""A collection without people: drawn images whose content is known, and a script that annotates them."""
