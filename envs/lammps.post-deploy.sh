# conda-forge calls the program lmp_serial, or lmp_mpi where it was built with MPI; everybody else calls it lmp.
cd "$CONDA_PREFIX/bin"
for name in lmp_serial lmp_mpi; do
  if [ ! -e lmp ] && [ -e "$name" ]; then ln -s "$name" lmp; fi
done
