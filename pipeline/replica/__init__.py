"""What a replica does between the poll and the commit; `scoring.py` and `serving.py` put it together."""
