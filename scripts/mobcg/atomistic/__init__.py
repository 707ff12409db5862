"""All-atom runs: SMILES → force field and topology → liquid → beads with g(r) and self-diffusion (GROMACS)."""
