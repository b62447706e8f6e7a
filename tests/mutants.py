"""Drop or break one check at a time in the questions' checkers, and see that their tables notice

    python tests/mutants.py                # every module of collab_course/exercises but the engine
    python tests/mutants.py crosstab engine

A mutant is one module with one change: a missing `raise`, a condition that is always or never true, a reversed comparison, or a missing mistake, option or
name. The tests are the cells of the notebook in nbs/exercises that exports the module. Code that a change can't affect is not run again, because each
mutant is a fork of the process in which all tests have passed, with its trained models. Forks need Linux or macOS.
A line that ends in `# equivalent: why` is not changed. The exit code is 1 if a mutant goes unnoticed."""
import ast, contextlib, copy, json, linecache, multiprocessing, os, re, sys, tempfile, time, warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_CHECKERS = '__init__', 'engine'
INVERSE = {ast.Eq: ast.NotEq, ast.Lt: ast.GtE, ast.Gt: ast.LtE, ast.In: ast.NotIn, ast.Is: ast.IsNot}
INVERSE |= {v: k for k,v in INVERSE.items()}
NAMED = {'Wrong': (1, 'misconception'), 'Mistake': (0, 'name'), 'Option': (3, 'name')} # position and name of the argument that names a misconception


# --- what there is to break

def called(node, *names): return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names

def slot(call, pos, name):
    "Where an argument of `call` is stored, as a container and its key, or None"
    if len(call.args) > pos: return call.args, pos
    kws = [k for k in call.keywords if k.arg == name]
    return (kws[0].__dict__, 'value') if kws else None

def put(holder, key, value): return lambda: holder.__setitem__(key, value)

def changes(node, named):
    "Everything that can be broken at `node` itself: (label, line, a function that breaks it in place)"
    for field in ('body', 'orelse', 'finalbody'):
        block = getattr(node, field, None)
        for k,s in enumerate(block if isinstance(block, list) else []):
            if isinstance(s, (ast.Raise, ast.Return, ast.Continue, ast.Break)) or isinstance(s, ast.Expr) and isinstance(s.value, ast.Call): yield f'without {type(s).__name__.lower()}', s.lineno, put(block, k, ast.copy_location(ast.Pass(), s))
    if isinstance(node, (ast.If, ast.IfExp, ast.While)) and not isinstance(node.test, ast.Constant):
        for v in (False, True): yield f'condition {v}', node.test.lineno, put(node.__dict__, 'test', ast.Constant(v))
    if isinstance(node, ast.comprehension):
        for k,s in enumerate(node.ifs): yield 'without if', s.lineno, put(node.ifs, k, ast.Constant(True))
    if isinstance(node, ast.Compare):
        for k,o in enumerate(node.ops): yield 'comparison turned round', node.lineno, put(node.ops, k, INVERSE[type(o)]())
    if isinstance(node, ast.BoolOp):
        for k,s in enumerate(node.values): yield f'without part {k+1} of and/or', s.lineno, put(node.values, k, ast.Constant(isinstance(node.op, ast.And)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not): yield 'without not', node.lineno, put(node.__dict__, 'operand', ast.UnaryOp(ast.Not(), node.operand))
    if isinstance(node, (ast.List, ast.Tuple)):
        for k,s in enumerate(node.elts):
            if called(s, 'Mistake'): yield 'without mistake', s.lineno, lambda k=k: node.elts.pop(k)
    if called(node, *NAMED) and (s := slot(node, *NAMED[node.func.id])) and getattr(s[0][s[1]], 'value', 0) is not None: yield 'without name', node.lineno, put(*s, ast.Constant(None))
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in named and re.fullmatch(r'[a-z]+(-[a-z]+)+', node.value): yield 'without name', node.lineno, put(node.__dict__, 'value', None)
    if called(node, 'Option'):
        s = slot(node, 2, 'right')
        yield 'right turned round', node.lineno, put(*s, ast.Constant(not s[0][s[1]].value)) if s else lambda: node.keywords.append(ast.keyword('right', ast.Constant(True)))

def all_changes(stmt):
    "Everything that can be broken anywhere in `stmt`, always in the same order"
    nodes = list(ast.walk(stmt))
    named = {id(s[0][s[1]]) for n in nodes if called(n, *NAMED) and (s := slot(n, *NAMED[n.func.id]))}
    return [c for n in nodes for c in changes(n, named)]

def broken(stmt, i):
    "A copy of `stmt` with its change `i`"
    res = copy.deepcopy(stmt)
    all_changes(res)[i][2]()
    return ast.fix_missing_locations(res)


# --- which statements depend on which

def uses(stmt): return {n.id for n in ast.walk(stmt) if isinstance(n, ast.Name)}

def binds(stmt):
    "Names that `stmt` assigns to, in its own scope or, to be safe, in an inner one"
    names = {n.id for n in ast.walk(stmt) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names |= {n.value.id for n in ast.walk(stmt) if isinstance(n, (ast.Subscript, ast.Attribute)) and isinstance(n.ctx, ast.Store) and isinstance(n.value, ast.Name)}
    if isinstance(stmt, (ast.FunctionDef, ast.ClassDef)): names = {stmt.name}
    if isinstance(stmt, (ast.Import, ast.ImportFrom)): names = {(a.asname or a.name).split('.')[0] for a in stmt.names}
    return names

def reached(stmts, tainted):
    "The statements of `stmts` that use a name in `tainted`; the names that they assign are added to `tainted`"
    while True:
        res = [s for s in stmts if uses(s) & tainted]
        more = set().union(*map(binds, res)) - tainted
        if not more: return res
        tainted |= more


# --- running

def run(stmt, fname, ns): exec(compile(ast.Module([stmt], []), fname, 'exec'), ns)

def is_check(stmt): return any(isinstance(n, ast.Assert) or called(n, 'table', 'judge', 'test_eq', 'test_close', 'test_fail', 'ExceptionExpected') for n in ast.walk(stmt))

class Module:
    "A module of exercises, the cells that test it, and the state after a run of both"
    def __init__(self, name):
        self.name, self.path = name, ROOT/'collab_course'/'exercises'/f'{name}.py'
        self.nb = next(p for p in sorted((ROOT/'nbs'/'exercises').glob('*.ipynb')) if f'#| default_exp exercises.{name}' in [l for c in json.loads(p.read_text())['cells'] for l in ''.join(c['source']).splitlines()])
        self.lines = self.path.read_text().splitlines()
        self.stmts = ast.parse(self.path.read_text()).body
        self.tests = self.needed([(s, fname) for fname,src in self.cells() for s in ast.parse(src).body])

    def needed(self, tests):
        "The statements of the cells that check this module or a verdict, and those that they depend on (but no `survives`, no measurements)"
        own = set().union(*(binds(s) for s in self.stmts if not isinstance(s, (ast.Import, ast.ImportFrom))))
        for s,_ in tests: own |= binds(s) if uses(s) & own else set()
        keep, names = [], set()
        for s,fname in reversed(tests):
            if any(called(n, 'survives') for n in ast.walk(s)): continue
            if is_check(s) and uses(s) & own or binds(s) & names or isinstance(s, ast.Expr) and uses(s) & names:
                keep.insert(0, (s, fname)); names |= uses(s)
        return keep

    def cells(self):
        "The cells that are not exported, as (file name, source)"
        for i,c in enumerate(json.loads(self.nb.read_text())['cells']):
            src = ''.join(c['source'])
            if c['cell_type'] != 'code' or re.search(r'^#\| *(export|default_exp)', src, re.M): continue
            fname = f'{self.nb.stem}_cell_{i}.py'
            linecache.cache[fname] = len(src), None, src.splitlines(True), fname # so that a traceback shows the line
            yield fname, src

    def baseline(self):
        "Run everything once, and record the names that each test binds, its time, and the state of the examples' random generators"
        os.chdir(self.nb.parent)
        self.ns = {'__name__': f'collab_course.exercises.{self.name}', '__file__': str(self.path)}
        exec(compile(self.path.read_text(), str(self.path), 'exec'), self.ns)
        self.own, self.kept = dict(self.ns), []
        for s,fname in self.tests:
            start, drawn = time.time(), dict(self.drawn())
            run(s, fname, self.ns)
            self.kept.append(({n: self.ns[n] for n in binds(s) if n in self.ns}, time.time()-start, drawn))
        self.time = sum(k[1] for k in self.kept)

    def drawn(self): return (self.ns if self.name == 'engine' else sys.modules['collab_course.exercises.engine'].__dict__).get('_drawn', {})

    def mutants(self):
        for k,s in enumerate(self.stmts):
            for i,(label,line,_) in enumerate(all_changes(s)):
                if '# equivalent:' not in self.lines[line-1]: yield k, i, label, line

    def passes(self, k, i):
        "Run everything that change `i` of statement `k` affects (None: no change); raises an exception if a test notices"
        stmt, ns = self.stmts[k] if i is None else broken(self.stmts[k], i), dict(self.own)
        tainted = binds(self.stmts[k]) or {''}
        after = reached(self.stmts, tainted)
        for s in self.stmts:
            if s is self.stmts[k]: run(stmt, str(self.path), ns)
            elif s in after: run(s, str(self.path), ns)
        for (s,fname),(bound,seconds,drawn) in zip(self.tests, self.kept):
            if uses(s) & tainted and (seconds < 2 or is_check(s)):
                tainted |= binds(s)
                self.drawn().clear(); self.drawn().update(drawn)
                run(s, fname, ns)
            else: ns.update(bound)

def child(module, k, i):
    sys.stdout = sys.stderr = open(os.devnull, 'w')
    try: module.passes(k, i)
    except BaseException: os._exit(1)
    os._exit(0)

def noticed(module, k, i, limit):
    "Whether a test fails or doesn't end"
    p = multiprocessing.get_context('fork').Process(target=child, args=(module, k, i))
    p.start(); p.join(limit)
    if p.is_alive(): p.kill(); p.join()
    return p.exitcode != 0

@contextlib.contextmanager
def timed(engine):
    "A context that measures how long checks take. It yields a function that limits all later checks to a multiple of the longest check so far, or to the time of all tests (a model that was trained between checks may be trained during a check next time)"
    judge, longest = engine.judge, [0.]
    def timing(question, *answer, **kwargs):
        start = time.time()
        try: return judge(question, *answer, **kwargs)
        finally: longest.append(time.time()-start)
    def be_strict(total):
        most = max(5, 6*max(longest), total)
        def strict(question, *answer, limit=None, **kwargs):
            own = limit or engine._definitions[question._name].limit
            return judge(question, *answer, limit=min(most, own), **kwargs)
        engine.judge = strict
    engine.judge = timing
    try: yield be_strict
    finally: engine.judge = judge

def main(names):
    sys.path.insert(0, str(ROOT))
    os.environ['COLLAB_COURSE_PROGRESS'] = os.path.join(tempfile.mkdtemp(), 'progress.json')
    warnings.simplefilter('ignore')
    import torch
    torch.set_num_threads(1)
    from collab_course.exercises import engine
    engine._forks = lambda: False # each mutant has a process of its own already
    alive = 0
    for name in names or sorted(p.stem for p in (ROOT/'collab_course'/'exercises').glob('*.py') if p.stem not in NOT_CHECKERS):
        with timed(engine) as be_strict:
            module, start, missed = Module(name), time.time(), 0
            module.baseline(); be_strict(module.time)
            mutants = list(module.mutants())
            for k in sorted({m[0] for m in mutants}):
                if noticed(module, k, None, 30 + 4*module.time): sys.exit(f'{name}.py:{module.stmts[k].lineno}: its tests fail a second time, without any change')
            for k,i,label,line in mutants:
                if noticed(module, k, i, 30 + 4*module.time): continue
                missed += 1; print(f'{name}.py:{line}: {label}: {module.lines[line-1].strip()[:150]}', flush=True)
        print(f'{name}: {len(mutants)-missed} of {len(mutants)} mutants noticed, {time.time()-start:.0f} s', flush=True)
        alive += missed
    return alive > 0

if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
