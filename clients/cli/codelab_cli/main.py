"""The command `codelab`."""

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def main_options() -> None:
    """Work with CodeLab AI Service from a terminal."""


def main() -> None:
    """Run the command line."""
    app()
