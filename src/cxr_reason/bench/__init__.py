"""Speed of this package's operations beside what else could be used, on this machine."""
