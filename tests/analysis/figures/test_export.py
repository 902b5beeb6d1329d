from __future__ import annotations

import csv
import io

import pandas as pd

from analysis.figures.export import table_bytes


def test_no_text_of_a_csv_file_runs_in_a_spreadsheet() -> None:
    hostile = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "=cmd|' /C calc'!A0", "＝1"]
    table = pd.DataFrame({"=name": hostile, "value": -1.5, "text": "-0.5"})
    rows = list(csv.reader(io.StringIO(table_bytes(table).decode(), newline="")))
    assert rows[0] == ["'=name", "value", "text"]
    assert [row[0] for row in rows[1:]] == [f"'{text}".replace("\r", "\n") for text in hostile]
    assert {tuple(row[1:]) for row in rows[1:]} == {("-1.5", "-0.5")}  # numbers stay numbers
    assert table["=name"].tolist() == hostile
