"Run all chapters as a learner who has answered every question: each answer cell gets our worked answer, which must be accepted"
import argparse, ast, os, re, tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import nbformat
from nbclient import NotebookClient
from collab_course.exercises.engine import _definitions
import collab_course.exercises
import wings

CHAPTERS = [*wings.MAIN, *wings.FURTHER]

def asserted(code):
    "`code` with its last expression asserted"
    last = ast.parse(code).body[-1]
    return '\n'.join(code.splitlines()[:last.lineno-1] + [f'assert {ast.get_source_segment(code, last)}'])

def fill(nb):
    "Put the worked answers into the answer cells, and return the names of the questions"
    names = []
    for cell in nb.cells:
        mine = cell.cell_type == 'code' and re.fullmatch(r'# ([qrs]\d+|f\d+[a-z])\.check\(.*\)', cell.source.strip())
        if mine: names.append(mine[1]); cell.source = asserted(_definitions[mine[1]].code)
    return names

def run(path):
    "Answer a chapter's questions and run it; return the number of questions, and what went wrong"
    nb = nbformat.read(path, as_version=4)
    names = fill(nb)
    with tempfile.TemporaryDirectory() as d:
        env = os.environ | {'COLLAB_COURSE_PROGRESS': f'{d}/progress.json'}
        try: NotebookClient(nb, timeout=900, kernel_name='python3', resources={'metadata': {'path': str(path.parent)}}).execute(env=env)
        except Exception as e: return names, str(e)
    return names, ''

def main():
    "Run from the command line"
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('chapters', type=Path, nargs='*', default=CHAPTERS, help='notebooks; default: all chapters')
    a = p.parse_args()
    with ThreadPoolExecutor(2) as pool: results = list(pool.map(run, a.chapters))
    for path,(names,wrong) in zip(a.chapters, results): print(f'{wings.name_of(path)}: {len(names)} answered' + (f', and then\n{wrong}' if wrong else ''))
    if any(wrong for _,wrong in results): raise SystemExit(1)

if __name__ == '__main__': main()
