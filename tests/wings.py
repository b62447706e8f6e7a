"The notebooks of the course by wing, as paths"
from pathlib import Path

NBS = Path(__file__).resolve().parents[1]/'nbs'
MAIN = sorted(NBS.glob('[0-9]*.ipynb'))
SIDE = sorted(NBS.glob('side/*.ipynb'))
FURTHER = sorted(NBS.glob('further/*.ipynb'))
MAKERS = sorted(NBS.glob('exercises/*.ipynb'))
FRONT = [path for path in sorted(NBS.glob('*.ipynb')) if path not in MAIN]  # map, glossary, ...
ALL = [*FRONT, *MAIN, *SIDE, *FURTHER, *MAKERS]


def name_of(path):
    "The name of a notebook in a report, such as side/loader"
    path = path.resolve()
    if NBS not in path.parents:
        return path.stem
    return path.relative_to(NBS).with_suffix('').as_posix()
