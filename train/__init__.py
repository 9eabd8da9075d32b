"""The training harness: `python -m train.main --config=configs/NAME.py --workdir=FOLDER`."""

import signal
import sys

# Python sets this name while it looks for the module of `python -m train.X`. Importing what the
# command needs takes seconds: a Ctrl-C in that time ends it as SIGTERM does, without a traceback.
if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
