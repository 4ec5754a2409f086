"""The sandbox of a cell's process: file access, child processes, connections and resource limits."""
