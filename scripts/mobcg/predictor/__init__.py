"""Predictor: from (g, ρ, T, m, D) of a liquid to a pair potential, learned from a release and scored by CG runs."""
