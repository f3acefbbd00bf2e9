"""Records screens of real programs and pages, with what is on them and where.

``record.py`` is the way in. A program runs on a virtual display in a session of its own (``session.py``), its
accessibility tree is read (``atspi_reader.py``) and filtered to what is really visible (``program_truth.py``). A page
is opened in Chromium (``page_truth.py``). ``questions.py`` asks for the elements, and ``folder.py`` writes the rows.
"""
