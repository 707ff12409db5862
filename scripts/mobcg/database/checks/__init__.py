"""What a release must pass, a module for each kind of check; `mobcg.database.validate` runs them all."""
