#!/usr/bin/env bash
# Makes sure that gmx, csg_inverse, csg_stat and lmp are there, and a Python environment in .venv from the lock.
# Idempotent: what is there is not installed again. `setup.sh forcematch` adds the libraries of the many-body models,
# `setup.sh tests` those and a Slurm for the tests, where it can.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '[setup] %s\n' "$*"; }
fail() { printf '[setup] %s\n' "$*" >&2; exit 1; }

# Programs from a conda environment of an earlier set-up, see below.
for directory in .conda/*/bin; do
  [ -d "$directory" ] && PATH="$PWD/$directory:$PATH"
done

missing_programs() {
  local missing=()
  command -v gmx >/dev/null || missing+=(gromacs)
  { command -v csg_inverse && command -v csg_stat; } >/dev/null || missing+=(votca)
  command -v lmp >/dev/null || missing+=(lammps)
  printf '%s ' "${missing[@]}"
}

python_ready() { python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

as_root=""
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then as_root="sudo"; else as_root="none"; fi
fi

programs=$(missing_programs)
packages="$programs"
python_ready || packages="$packages python3 python3-venv"
if [ -n "${packages// /}" ]; then
  if [ "$as_root" != none ] && command -v apt-get >/dev/null; then
    say "installing with apt-get: $packages"
    export DEBIAN_FRONTEND=noninteractive
    $as_root apt-get update -qq
    # shellcheck disable=SC2086
    $as_root apt-get install -y -qq --no-install-recommends $packages >/dev/null
  else
    conda=""
    for candidate in micromamba mamba conda pixi; do
      if command -v "$candidate" >/dev/null; then conda=$candidate; break; fi
    done
    [ -n "$conda" ] || fail "missing: $packages. Install them with your package manager or load their modules, or
        install micromamba (https://mamba.readthedocs.io) and call this again; it then uses envs/*.yaml."
    for program in $programs; do
      say "installing $program with $conda from envs/$program.yaml"
      if [ "$conda" = pixi ]; then
        pixi init --quiet --import "envs/$program.yaml" ".conda/pixi-$program"
        pixi install --quiet --manifest-path ".conda/pixi-$program/pixi.toml"
        ln -sfn "pixi-$program/.pixi/envs/default" ".conda/$program"
      elif [ "$conda" = micromamba ]; then
        micromamba create -y -q -p ".conda/$program" -f "envs/$program.yaml"
      else
        "$conda" env create -q -p ".conda/$program" -f "envs/$program.yaml"
      fi
      if [ -e "envs/$program.post-deploy.sh" ]; then
        CONDA_PREFIX="$PWD/.conda/$program" bash "envs/$program.post-deploy.sh"
      fi
    done
    for directory in .conda/*/bin; do
      [ -d "$directory" ] && PATH="$PWD/$directory:$PATH"
    done
  fi
fi
left=$(missing_programs)
[ -z "${left// /}" ] || fail "still missing after the installation: $left. \`make doctor\` says more."
python_ready || fail "Python 3.11 or newer with the venv module is needed; python3 here is $(python3 --version 2>&1)."

if [ "${1:-}" = tests ] && ! PATH="$PATH:/usr/sbin:/sbin" command -v slurmctld >/dev/null; then
  if [ "$as_root" != none ] && command -v apt-get >/dev/null; then
    say "installing with apt-get, for the tests only: slurm-wlm munge"
    export DEBIAN_FRONTEND=noninteractive
    { $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends slurm-wlm munge; } \
      >/dev/null || say "that failed; the tests on Slurm will be skipped"
  else
    say "no Slurm here and no right to install one; the tests on Slurm will be skipped"
  fi
fi

stamp=".venv/.lock-$(cat requirements.lock pyproject.toml | sha256sum | cut -c1-16)"
if [ ! -e "$stamp" ]; then
  say "Python packages into .venv (about a minute)"
  [ -x .venv/bin/python ] || python3 -m venv .venv
  .venv/bin/python -m pip install -q --disable-pip-version-check -r requirements.lock
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
  rm -f .venv/.lock-* .venv/.forcematch-*
  touch "$stamp"
fi

stamp=".venv/.forcematch-$(sha256sum <requirements-forcematch.lock | cut -c1-16)"
if [ -n "${1:-}" ] && [ ! -e "$stamp" ]; then
  say "Python packages of the many-body models into .venv"
  .venv/bin/python -m pip install -q --disable-pip-version-check -r requirements-forcematch.lock
  touch "$stamp"
fi
