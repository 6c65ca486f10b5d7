"""Films with known findings: synthetic ones (phantoms), and the loaders of public releases."""
