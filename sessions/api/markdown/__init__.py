"""Markdown of answers as trees, which the page builds from text nodes.

`renderer` is the only part that the web process imports. The others run in a process of their own: models write what
they parse, and a parser or a lexer that such a text keeps busy must not hold up the web process.
"""
