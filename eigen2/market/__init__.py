"""The market: reading, cleaning and building the arrays that a population trades on."""
