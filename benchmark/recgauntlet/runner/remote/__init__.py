"""Models of plugins in processes of their own: the evaluation asks for scores and gradients, and runs no plugin.

`host` starts the processes, `cell_server` and `server` answer in them, `recommender` asks, `line` carries arrays, and
`cell` opens a cell without importing its plugins.
"""
