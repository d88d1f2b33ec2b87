"""Build the page and launch it: ``python app.py``. Also the entry of a Hugging Face Space."""

import argparse
import os
import sys

WARM_AFTER_SECONDS = 3
"""torch is imported this long after the page is up, so that the first page doesn't wait for it."""


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line. Exits with 2 and one line when the page would be open to strangers without being asked for."""
    parser = argparse.ArgumentParser(description="Train a diffusion model in the browser and watch it learn.")
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), help="address to listen on")
    parser.add_argument("--port", type=int, default=os.environ.get("GRADIO_SERVER_PORT", 7860), help="first port to try")
    parser.add_argument("--runs_dir", default="runs", help="folder that holds the runs")
    parser.add_argument("--share", action="store_true", help="make a public gradio.live link")
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="ask for a name and a password")
    parser.add_argument(
        "--public", action="store_true", help="strangers may use it: limited to small runs on the built-in data or an upload"
    )
    asked = parser.parse_args(argv)
    asked.public |= "SPACE_ID" in os.environ
    if asked.auth and not all(asked.auth.partition(":")):
        _refuse("--auth needs a name and a password, as user:password")
    if not 0 < asked.port < 65536:
        _refuse(f"--port is {asked.port}: it must be between 1 and 65535")
    elsewhere = asked.share or asked.host not in ("127.0.0.1", "localhost", "::1", "[::1]")
    asked.opened = elsewhere or bool(asked.auth) or asked.public
    if elsewhere and not (asked.auth or asked.public):
        _refuse("--share and a --host other than this machine open the page to others: add --auth user:password or --public")
    return asked


def _refuse(line: str) -> None:
    print(line, file=sys.stderr)
    raise SystemExit(2)


def main(argv: list[str] | None = None) -> None:
    asked = options(argv)
    os.environ["MPLBACKEND"] = "agg"
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_SERVER_NAME"], os.environ["GRADIO_SERVER_PORT"] = asked.host, str(asked.port)  # gradio tries the ports from here on

    from ddpm_app.ui import guard, language, page, style

    demo, studio = page.build(asked.runs_dir, asked.public)
    demo.launch(
        share=asked.share,
        auth=tuple(asked.auth.split(":", 1)) if asked.auth else None,
        max_file_size=guard.upload_bytes(asked.public),
        app_kwargs={"middleware": [*guard.host_check(asked.opened), language.middleware()]},
        run_history=False,
        ssr_mode=False,
        show_error=True,
        quiet=True,
        prevent_thread_lock=True,
        **style.look(),
    )
    for address in filter(None, (demo.local_url, demo.share_url)):
        print(f"DDPM Studio is at {address}", flush=True)
    studio.warm_up(WARM_AFTER_SECONDS)
    demo.block_thread()


if __name__ == "__main__":
    main()
