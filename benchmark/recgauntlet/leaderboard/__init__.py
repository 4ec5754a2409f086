"""Records in, tables of rows out: what every page, export and citation is made of."""
