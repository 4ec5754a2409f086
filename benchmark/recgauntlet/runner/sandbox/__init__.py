"""What keeps a cell to itself: where its process may write and look, what it may start, and how much it may take."""
