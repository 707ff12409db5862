"""Coarse-grained runs: pair potential, bead mass and friction → structure, self-diffusion and pressure (LAMMPS)."""
