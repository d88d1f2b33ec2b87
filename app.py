"""Build the page and launch it: ``python app.py``. Also the entry of a Hugging Face Space."""

from ddpm_app.launch import main

if __name__ == "__main__":
    main()
