"""Class ids and WordNet, or a table of parents, in; the tree of classes and nodes out."""
