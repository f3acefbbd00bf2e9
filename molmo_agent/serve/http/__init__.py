"""Models over HTTP: `agent serve`."""
