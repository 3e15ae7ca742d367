"""Fill stores with runs behind their backs: the same content for every side. Standard library only."""
