"""Configuration, code, data and machines in; what each number was made from out."""
