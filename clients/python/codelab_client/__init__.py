"""A client for CodeLab AI Service."""
