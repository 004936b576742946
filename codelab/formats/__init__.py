"""How Django's pages write dates and times."""
