"""Documents: code that draws charts, tables, diagrams and pages, run in a sandbox, with questions about their data."""
