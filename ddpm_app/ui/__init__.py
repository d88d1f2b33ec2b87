"""The page: Gradio only here and in app.py, one file per tab. No torch at import."""
