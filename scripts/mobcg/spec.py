"""Specs and their ids.

A spec is a plain dictionary that says what is asked for, never what came out. Its id is the hash of its canonical
JSON, its random seeds are drawn from that hash, so the same question has the same id and the same answer everywhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Spec = dict[str, Any]


def canonical_json(spec: Mapping[str, Any]) -> str:
    """Return the one JSON text of a spec: sorted keys, no spaces, no NaN."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def run_id(spec: Mapping[str, Any]) -> str:
    """Return the id of a spec: the first 16 hex digits of the SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()[:16]


def seed(spec: Mapping[str, Any], purpose: str) -> int:
    """Return the random seed of a spec for one purpose, from 1 to 2³¹ − 2 (what gmx and lmp accept)."""
    digest = hashlib.sha256(f"{canonical_json(spec)}#{purpose}".encode()).digest()
    return 1 + int.from_bytes(digest[:8], "big") % (2**31 - 2)


def force_field_id(spec: Mapping[str, Any]) -> str:
    """Return the id of an atomistic spec's force field: the hash of the molecule and of what was asked for."""
    return run_id({"kind": "force_field", "smiles": spec["molecule"]["smiles"], "force_field": spec["force_field"]})


def derived_potential_spec(potential: Mapping[str, Any]) -> Spec | None:
    """Return the spec of the potential that a coarse spec names under `potential`; None for the parent itself.

    It is scaled, a parent times a constant, or perturbed, that plus the Gaussians of `mobcg.pair.perturb`.
    """
    spec = {name: potential[name] for name in ("parent_id", "scale_factor")}
    if "perturbation" in potential:
        return {"kind": "perturbed", **spec, "perturbation": dict(potential["perturbation"])}
    return None if spec["scale_factor"] == 1 else {"kind": "scaled", **spec}


def derived_potential_id(potential: Mapping[str, Any]) -> str:
    """Return the id of the potential that a coarse spec names under `potential`."""
    spec = derived_potential_spec(potential)
    return potential["parent_id"] if spec is None else run_id(spec)
