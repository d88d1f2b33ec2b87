"""``python -m ddpm_app``. The doctor is reached without importing what it may have to mend."""

import sys

if sys.argv[1:2] == ["doctor"]:
    from ddpm_app.doctor import main
else:
    from ddpm_app.cli import main

sys.exit(main(sys.argv[1:]))
