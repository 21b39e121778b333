"""The progress bar in a terminal, in a log file, and from stage to stage."""

import io

from heygem.core.progress import Bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_item_and_stage():
    stream = Terminal()
    with Bar(stream) as bar:
        bar("anna", 0, 2, "render", 0, 100)
        bar("anna", 0, 2, "encode", 0, 100)
    assert "[1/2] anna: render" in stream.getvalue() and "[1/2] anna: encode" in stream.getvalue()


def test_a_log_file_shows_nothing():
    stream = io.StringIO()
    with Bar(stream) as bar:
        bar("anna", 0, 1, "render", 50, 100)
        bar.clear()
    assert stream.getvalue() == ""


def test_a_long_name_is_cut():
    stream = Terminal()
    with Bar(stream) as bar:
        bar("n" * 60, 0, 1, "render", 0, 0)
    assert "n" * 31 + "…" in stream.getvalue() and "n" * 32 not in stream.getvalue()
