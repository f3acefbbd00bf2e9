"""Points for other programs: over HTTP, as MCP tools, and behind the computer tools of other agents."""
