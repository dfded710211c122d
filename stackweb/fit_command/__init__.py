"""`stackweb fit` and `stackweb fit-train`: the planner on the command line, without database or network."""
