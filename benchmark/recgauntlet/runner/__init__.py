"""From a spec to a record: cells, their processes, sweeps and plans."""
