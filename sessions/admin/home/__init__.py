"""The admin's home: what operators ask first, as figures, plots and links to the rows behind them."""
