"""A script in the place of reprorun.experiment_wrapper."""

import sys

if __name__ == "__main__":
    names = [word for word in sys.argv[1:] if word.startswith("--")]
    print("my own wrapper got", *sorted(names), sys.warnoptions)
