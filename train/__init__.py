"""The training harness: `python -m train.main --config=configs/NAME.py --workdir=FOLDER`."""
