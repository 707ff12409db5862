"""The models, one file each, found by name: `--model NAME` loads the module `mobcg.predictor.models.NAME`.

A model module has

- `DEFAULTS`: its settings, plain values;
- `train(liquids, settings, seed, report) -> Model`: learns from `Liquids`, all of them; `report` prints a line;
- `Model` with `settings` (JSON), `arrays` (name → array), `history` (JSON: losses, errors) and
  `predict(states) -> (potential_kj_mol, potential_kj_mol_se)`, both (n, 150);
- `Model.restore(settings, arrays)`: the inverse of saving;
- `CARD`: what the model is, for its card;
- `FORMAT`: number of what its saved settings and arrays mean.

A `Model` with `processes` (see `mobcg.predictor.models.mobcg`) also knows mobility, friction and pressure:
`mobcg.predictor.predict.propose` asks it for all of them, and any other model for its potential alone.
"""
