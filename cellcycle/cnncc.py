"""The study's own command: `cnncc --image PATH [--model Nagao|ResNet|LR|NN]`, for one cropped nucleus."""

import argparse
import sys

from cellcycle.ending import guarded, refuse_twice


def main() -> None:
    """Print the phase of one nucleus as the study's package did; errors are one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="cnncc", description="Cell-cycle phase of one nucleus in a cropped image.")
    parser.add_argument("--image", required=True, help="image of one nucleus, any usual format")
    parser.add_argument(
        "--model", default="Nagao", help="Nagao (default), ResNet, LR, NN, a name of `cellcycle models`, or a folder"
    )
    arguments = parser.parse_args()
    guarded(lambda: (refuse_twice({name: name for name in ("--image", "--model")}, sys.argv[1:]), _predict(arguments)))


def _predict(arguments) -> None:
    from cellcycle.predict.command import run_predict
    from cellcycle.predict.predictor import Settings

    run_predict([arguments.image], arguments.model, Settings(kind="nucleus"))


if __name__ == "__main__":
    main()
