"""Web pages in a real Chromium as an env: MiniWoB++."""
