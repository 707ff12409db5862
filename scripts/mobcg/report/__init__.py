"""The report: scoreboard, figures and one self-contained page, drawn from a release directory."""
