"""Pictures, animations, plots and one HTML page; Matplotlib, Pillow and Jinja are imported only where
used."""
