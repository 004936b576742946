"""CodeLab AI Service in a terminal."""
