"""Force matching: bead trajectories with net forces → CG potentials whose forces are nearest to the atomistic ones."""
