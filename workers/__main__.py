"""`python -m workers …` is `andon …`, for processes that start others."""

from workers.cli import main

main()
