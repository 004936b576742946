"""Flower with the turns of this service: links to the admin, and the clean-up apart from the turns."""
