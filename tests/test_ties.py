"""A list is the same on every machine only if its sort is stable.

The default sorts of numpy, pandas and torch leave the order of equal values to the processor and the version.
"""
import ast, json
from pathlib import Path

import pytest
from collab_course.exercises.engine import _definitions
import wings

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [p for d in ('docs','scripts','tests') for p in sorted((ROOT/d).rglob('*.py')) if p != Path(__file__)]
NO_TIES = {'q23'}  # worked answers to questions that say there are none


# --- the rules: a call is fine by itself, or because of what is done with its result

ANY_ORDER = {'sort_index','max','min','sum','mean','median','values','to_numpy'}  # of counts: the counts alone, or in another order

def given(call, name): return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), None)
def stable(call): return given(call, 'kind') not in (None, "'quicksort'", "'heapsort'") or given(call, 'stable') == 'True'
def of(call, *names): return isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in names

def several_keys(call):
    by = next((k.value for k in call.keywords if k.arg == 'by'), call.args[0] if call.args else None)
    return isinstance(by, (ast.List, ast.Tuple)) and len(by.elts) > 1

RULES = {  # name: (is it fine?, given the call and what comes next: an attribute, an index or the function around it; the remedy)
    'sort_values': (lambda call, after: stable(call) or several_keys(call), "kind='stable', or several columns"),
    'argsort': (lambda call, after: stable(call), "kind='stable' (torch: stable=True)"),
    'sort': (lambda call, after: stable(call) or of(call, 'np') or after in ('values', '0', 'statement'), 'stable=True, or its values alone'),
    'topk': (lambda call, after: after in ('values', '0'), 'argsort(descending=True, stable=True)[:k], or its values alone'),
    'argpartition': (lambda call, after: False, "argsort(kind='stable')"),
    'nlargest': (lambda call, after: of(call, 'heapq'), "sort_values(ascending=False, kind='stable').head(n)"),
    'nsmallest': (lambda call, after: of(call, 'heapq'), "sort_values(kind='stable').head(n)"),
    'value_counts': (lambda call, after: given(call, 'sort') == 'False' or after in ANY_ORDER | {'set', 'len'}, 'rating_counts, or sort=False'),
    'set': (lambda call, after: after not in ('list', 'tuple', 'enumerate', 'join', 'for'), 'sorted(...)')}


# --- finding what breaks them

def name_of(node):
    if isinstance(node, (ast.Set, ast.SetComp)): return 'set'
    f = node.func if isinstance(node, ast.Call) else None
    return 'set' if getattr(f, 'id', '') == 'frozenset' else getattr(f, 'attr', None) or getattr(f, 'id', None)

def what_comes_next(node, parents):
    p = parents[node]
    if isinstance(p, ast.Attribute): return p.attr
    if isinstance(p, ast.Subscript): return ast.unparse(p.slice)
    if isinstance(p, ast.Call): return name_of(p)
    if isinstance(p, ast.For) and p.iter is node: return 'for'
    if isinstance(p, ast.comprehension) and p.iter is node:
        made = parents[p]
        return {ast.GeneratorExp: name_of(parents[made]), ast.SetComp: None}.get(type(made), 'for')
    return 'statement' if isinstance(p, ast.Expr) else None

def walk(node, skip):
    "All nodes in and below `node`, except those for which `skip` is true and what is below them"
    if skip(node): return
    yield node
    for child in ast.iter_child_nodes(node): yield from walk(child, skip)

def faults(source, skip=lambda node: False):
    "Line and remedy of each unstable sort in `source`"
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in walk(tree, skip):
        fine, remedy = RULES.get(name_of(node), (None, None))
        if fine and not fine(node, what_comes_next(node, parents)): yield node.lineno, f'`{ast.unparse(node)}` needs {remedy}'

def an_answer(source):
    "For the notebooks of exercises: a function that says whether a node is an example of a learner's answer. Learners may sort in any way, and no table has ties"
    exported = any(line.startswith('#| export') for line in source.splitlines())
    return lambda node: isinstance(node, ast.Lambda) or isinstance(node, ast.FunctionDef) and not exported

def all_faults():
    for path in wings.ALL:
        for i,cell in enumerate(json.loads(path.read_text(encoding='utf-8'))['cells']):
            source = ''.join(cell['source'])
            skip = an_answer(source) if path.parent.name == 'exercises' else lambda node: False
            if cell['cell_type'] == 'code':
                for line,says in faults(source, skip): yield f'{path.relative_to(ROOT)}, cell {i}, line {line}: {says}'
    for path in SCRIPTS:
        for line,says in faults(path.read_text(encoding='utf-8')): yield f'{path.relative_to(ROOT)}, line {line}: {says}'
    for name,d in _definitions.items():
        if name not in NO_TIES:
            for line,says in faults(d.code or ''): yield f'the answer to {name}, line {line}: {says}'


def test_every_sort_is_stable():
    found = list(all_faults())
    assert not found, '\n'.join(['', *found])


@pytest.mark.parametrize('bad,good', [
    ("df.sort_values('mean', ascending=False)", "df.sort_values('mean', kind='stable')"),
    ("df.sort_values(['mean'])", "df.sort_values(['mean','title'])"),
    ("s.sort_values(kind='quicksort')", "s.sort_values(ascending=False, kind='stable')"),
    ("np.argsort(-x)", "np.argsort(-x, kind='stable')"),
    ("x.argsort(axis=1)[:,:10]", "x.argsort(axis=1, kind='stable')[:,:10]"),
    ("t.argsort(descending=True)", "t.argsort(descending=True, stable=True)"),
    ("values, order = t.sort()", "values = t.sort()[0]"),
    ("torch.sort(t).indices", "torch.sort(t).values"),
    ("np.sort(x).argsort()", "np.sort(x)"),
    ("t.topk(3).indices", "t.topk(3).values"),
    ("x.argpartition(-10)", "np.partition(x, -10)"),
    ("s.nlargest(5)", "heapq.nlargest(5, s)"),
    ("df.nsmallest(5, 'bias')", "df.sort_values('bias', kind='stable').head(5)"),
    ("r['title'].value_counts().index[:5]", "r['title'].value_counts().sort_index()"),
    ("n = r['title'].value_counts()", "n = r['title'].value_counts(sort=False)"),
    ("list(set(names))", "sorted(set(names))"),
    ("', '.join({n for n in names})", "len({n for n in names})"),
    ("[n for n in set(names)]", "sum(n for n in set(names))"),
    ("for n in {1, 2}: print(n)", "for n in sorted({1, 2}): print(n)"),
    ("', '.join(str(n) for n in set(names))", "{str(n) for n in set(names)}")])
def test_the_rules(bad, good):
    assert len(list(faults(bad))) == 1 and not list(faults(good))


def test_an_answer_may_sort_as_it_likes():
    answer, checker = 'def f(t, k): return t.argsort()[:k]', 'order = x.argsort()'
    assert not list(faults(answer, an_answer(answer))) and not list(faults('f = lambda t: t.argsort()', an_answer('')))
    for source in (f'#| exports\n{answer}', checker): assert list(faults(source, an_answer(source)))
