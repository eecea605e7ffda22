"""What carries a level to a line and reads it back. One module a protocol; `base.py` says what each one owes."""
