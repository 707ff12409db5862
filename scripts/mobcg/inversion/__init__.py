"""Inversion: g(r) of an atomistic liquid → pair potential, by iterative Boltzmann inversion."""
