"""From a source of data to the tables a task is made of."""
