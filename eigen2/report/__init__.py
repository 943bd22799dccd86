"""Reports of a run: tables for people and plots from its files. The only part that knows matplotlib."""
