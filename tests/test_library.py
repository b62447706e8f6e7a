"The library is consistent: few public names, one vocabulary for arguments, docstrings, imports in one direction"
import ast, html, importlib, inspect, json, pkgutil, re, subprocess, sys
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from fastcore.docments import docments

import collab_course

ROOT = Path(__file__).resolve().parent.parent
# A module may import only modules before it. Side rooms come before the chapters that use them.
FLOW = ['checks', 'download', 'world', 'movielens', 'crosstab', 'plots', 'dot_product', 'embedding', 'loader',
        'training', 'dot_product_bias', 'named_models', 'many_models', 'speed', 'weight_decay', 'subspaces', 'interpretation',
        'ridge', 'bootstrapping', 'everyone', 'evaluation', 'new_users', 'als', 'simulation', 'feedback', 'collab_nn', 'model_files', 'all']

# Modules of further research may import all of these, and each other in this order
FURTHER = ['further.benchmarks', 'further.ingredients', 'further.hundred_lines', 'further.cross_entropy',
           'further.column_tools', 'further.columns', 'further.watching', 'further.positives', 'further.two_stages',
           'further.missing', 'further.live', 'further.words', 'further.sequences', 'further.where_else',
           'further.projects', 'further.millions', 'further.memory', 'further.sweeps', 'further.growth',
           'further.machines', 'further.serving', 'further.directions']

# Modules for tables of ratings, which need no model
WITHOUT_TORCH = ['checks', 'download', 'world', 'movielens', 'crosstab', 'weight_decay', 'subspaces', 'ridge', 'als',
                 'simulation', 'feedback', 'further.watching']

VOCABULARY = {
    'data and models': 'ratings train valid test dls learn model path answers rows row',
    'names': 'user item users items user_name item_name rating_name time_name name exclude unknown',
    'numbers of': 'n n_users n_items n_factors n_models n_act n_test epochs steps sweeps',
    'training': 'lr wd l2 l2_bias l2_votes bs val_bs valid_pct drop drop_last y_range seed device bias',
    'regression': 'x y weight prior offset start',
    'drawing': 'ax xy labels fontsize frame crosstab',
    'ranking': 'k relevant',
    'choices': 'how kind when retry kwargs size std',
}
WORDS = {word for words in VOCABULARY.values() for word in words.split()}
# Arguments that only a single function has, because its task needs them
OWN = {
    'dot_product.factor_grads': 'R U V', 'dot_product.fit_factors': 'R', # matrices, as in the formulas
    'embedding.Embedding.forward': 'idx', 'training.mse': 'preds targs', # as in PyTorch and fastai
    'subspaces.chance_level': 'quantile', 'speed.fit_fast': 'callbacks',
    'bootstrapping.mean_and_offset': 'item_means', 'new_users.ask_neighbors': 'item_means others',
    'new_users.most_telling': 'knows candidates slope',
    'als.Factors.__init__': 'mean user_info item_info names',
    'als.Factors.doubt': 'noise', 'als.Factors.sample': 'noise shared',
    'simulation.gini': 'counts',
    'simulation.diversity': 'lists',
    'simulation.simulate': 'world choose rounds shown watched listen again restart',
    'simulation.unsure': 'dose noise',
    'feedback.enthusiasts': 'expected',
    'feedback.cap_ratings': 'most',
    'feedback.sprinkle': 'part shown',
    'feedback.thompson': 'dose shared noise',
    'movielens.MovieLens.__init__': 'movies genres truth',
    'world.stars': 'score',
    'further.cross_entropy.RatingDistribution.__init__': 'levels',
    'further.cross_entropy.SoftmaxRatings.__init__': 'levels shape',
    'further.cross_entropy.OrdinalRatings.__init__': 'levels shape',
    'further.cross_entropy.GaussianRatings.__init__': 'levels',
    'further.cross_entropy.fit_distribution': 'loss_func', # as in fastai
    'further.ingredients.known_columns': 'n_components',
    'further.ingredients.StarLogits.__init__': 'user_columns item_columns levels',
    'further.ingredients.fit_logits': 'n_components',
    'further.ingredients.MeanOfModels.__init__': 'models',
    'further.ingredients.fit_folds': 'n_folds',
    'further.ingredients.pages_of': 'gap',
    'further.ingredients.page_shift': 'residuals train_pages pages',
    'further.hundred_lines.SampledRatings.__init__': 'levels samples',
    'further.hundred_lines.SampledRatings.forward': 'pages',
    'further.hundred_lines.sample_ratings': 'pages n_components',
    'further.missing.ips_estimates': 'values clip',
    'further.missing.star_propensities': 'sample',
    'further.live.examination': 'steepness',
    'further.live.simulate_visits': 'ranked appeal n_visits steepness',
    'further.live.compare_groups': 'control treatment',
    'further.live.users_needed': 'effect alpha power',
    'further.live.team_draft': 'first second',
    'further.column_tools.Columns.__init__': 'frame names', 'further.column_tools.Columns.encode': 'frame',
    'further.words.Corpus.__init__': 'names words sentence',
    'further.words.make_corpus': 'sentences min_count',
    'further.words.draw_pairs': 'words sentence window rng',
    'further.words.negative_probs': 'counts power',
    'further.words.SkipGram.forward': 'center candidates',
    'further.words.skip_gram_loss': 'scores',
    'further.words.fit_words': 'corpus window n_negatives power subsample',
    'further.words.analogies': 'vectors pairs',
    'further.words.pair_counts': 'corpus window', 'further.words.ppmi_vectors': 'corpus window',
    'further.columns.FactorizationMachine.__init__': 'user_columns item_columns within',
    'further.columns.ColumnsNN.__init__': 'user_columns item_columns',
    'further.columns.Wide.__init__': 'user_columns item_columns',
    'further.columns.WideAndDeep.__init__': 'user_columns item_columns',
    'further.columns.TwoTowers.__init__': 'user_columns item_columns',
    'further.where_else.permute_residuals': 'table', 'further.where_else.shared_structure': 'table n_folds n_permutations',
    'further.where_else.krige': 'values places new_places distance nugget',
    'further.watching.WatchSplit.matrix': 'parts',
    'further.watching.best_unseen': 'scores seen',
    'further.watching.list_metrics': 'lists seen', 'further.watching.list_metrics_by_user': 'lists seen',
    'further.watching.popularity': 'X', 'further.watching.ease': 'X', 'further.watching.ease_weights': 'X',
    'further.watching.item_knn': 'X n_neighbors shrink', 'further.watching.item_similarities': 'X n_neighbors shrink',
    'further.watching.latest_watches': 'split share parts',
    'further.watching.recent_popularity': 'split days parts',
    'further.positives.sample_negatives': 'seen',
    'further.positives.logistic_loss': 'watched others', 'further.positives.bpr_loss': 'watched others',
    'further.positives.softmax_loss': 'scores seen',
    'further.positives.fit_sampled': 'watches loss_func n_negatives power correct',
    'further.positives.fit_softmax': 'watches',
    'further.positives.weighted_half_step': 'X alpha', 'further.positives.fit_weighted_als': 'watches alpha',
    'further.two_stages.item_vectors': 'X',
    'further.two_stages.augment': 'vectors',
    'further.two_stages.InvertedFile.__init__': 'vectors n_clusters',
    'further.two_stages.InvertedFile.search': 'query n_probe',
    'further.two_stages.rerank': 'candidates scores',
    'further.two_stages.in_new_sessions': 'known later hours',
    'further.sequences.histories': 'watches gap',
    'further.sequences.SelfAttention.__init__': 'width',
    'further.sequences.SelfAttention.weights': 'known',
    'further.sequences.SelfAttention.forward': 'known',
    'further.sequences.NextWatch.__init__': 'length n_blocks dropout places',
    'further.sequences.NextWatch.scores': 'states',
    'further.sequences.MeanOfHistory.__init__': 'length last dropout',
    'further.sequences.MeanOfHistory.scores': 'states',
    'further.sequences.pad': 'pieces length',
    'further.sequences.training_pairs': 'histories length',
    'further.sequences.fit_next': 'watches',
    'further.sequences.next_scores': 'histories',
    'further.projects.judge_entry': 'entry mirror',
    'further.machines.spark_rmse': 'fitted',
    'further.millions.Truth.__init__': 'n_ratings', 'further.millions.generate': 'folder n_ratings progress',
    'further.millions.best_prediction': 'truth', 'further.millions.noise_floor': 'truth',
    'further.millions.CodedRatings.__init__': 'halves user_ids item_ids', 'further.millions.integer_codes': 'ids',
    'further.millions.read_coded': 'folder', 'further.millions.read_titles': 'folder item_ids',
    'further.millions.train_valid': 'ratings share', 'further.millions.ratings_file': 'folder', 'further.millions.get_millions': 'n_ratings progress',
    'further.memory.run_apart': 'code setup args', 'further.memory.side_by_side': 'ways args',
    'further.sweeps.Tables.__init__': 'mean', 'further.sweeps.Tables.named': 'user_ids item_ids',
    'further.sweeps.tables_rmse': 'tables',
    'further.sweeps.Sweeps.__init__': 'engine constant', 'further.sweeps.sweep_als': 'engine constant', 'further.sweeps.Sweeps.restore': 'state',
    'further.directions.directions': 'tables user_counts item_counts',
    'further.directions.RelevanceSweeps.__init__': 'engine constant plain', 'further.directions.RelevanceSweeps.restore': 'state',
    'further.directions.relevance_als': 'engine constant progress',
    'further.growth.spread_batches': 'epoch',
    'further.growth.fit_slices': 'progress', 'further.growth.fit_als': 'engine constant progress', 'further.growth.resumable': 'step state settings seconds progress',
    'further.growth.smaller': 'share', 'further.growth.list_quality': 'tables candidates',
    'further.growth.fit_power': 'excess',
    'further.machines.start_spark': 'master memory settings', 'further.machines.stop_spark': 'spark',
    'further.machines.write_ratings': 'n_pieces', 'further.machines.read_ratings': 'spark',
    'further.machines.spark_als': 'n_blocks', 'further.machines.spark_tables': 'fitted',
    'further.machines.shipped_rows': 'others n_rows n_blocks',
    'further.machines.Team.__init__': 'timeout', 'further.machines.Team.run': 'function args',
    'further.machines.ShardedEmbedding.__init__': 'table', 'further.machines.ShardedEmbedding.forward': 'idx',
    'further.machines.ShardedEmbedding.whole': 'part',
    'further.machines.als_part': 'mean engine',
    'further.serving.save_served': 'tables titles', 'further.serving.ServedModel.code': 'user',
    'further.serving.best_items': 'scores block', 'further.serving.largest': 'scores', 'further.serving.list_everyone': 'at_once progress',
    'further.serving.write_parquet': 'lists user_ids item_ids at_once',
    'further.serving.only_users': 'chosen', 'further.serving.fold_in_many': 'tables at_once',
    'further.serving.to_int8': 'table',
    'further.projects.leaderboard': 'results by digits highest',
    'further.projects.kept_size': 'kept',
    'further.projects.Weighed.__init__': 'entry',
    'further.projects.race': 'entries asked rounds',
}


def modules():
    return [importlib.import_module(f'collab_course.{name}') for name in [*FLOW[:-1], *FURTHER]]


def public():
    "Each public function and method of the library, by its full name"
    for module in modules():
        for name in module.__all__:
            found = getattr(module, name)
            full = f'{module.__name__.removeprefix("collab_course.")}.{name}'
            if inspect.isclass(found):
                yield full, found
                for attr, f in vars(found).items():
                    f = getattr(f, '__func__', f)
                    if inspect.isfunction(f) and (attr == '__init__' or not attr.startswith('_')):
                        yield f'{full}.{attr}', f
            elif callable(found):
                yield full, found


PUBLIC = dict(public())
FUNCTIONS = {name: f for name, f in PUBLIC.items() if inspect.isfunction(f)}


def test_every_module_has_its_place_in_the_flow():
    found = {m.name for m in pkgutil.iter_modules(collab_course.__path__)}
    assert found - {'_modidx', 'exercises', 'further'} == set(FLOW)
    further = {f'further.{m.stem}' for m in (ROOT/'collab_course'/'further').glob('[a-z]*.py')}
    assert further == set(FURTHER)


def test_public_names_are_few():
    names = {name for name in PUBLIC if name.count('.') == 1 and not name.startswith('further.')}
    assert len(names) <= 66, sorted(names)


def unused_imports(source):
    "Names that a module imports and never mentions"
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {(alias.asname or alias.name).split('.')[0] for node in imports for alias in node.names}
    return names - {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - {'*'}


EXPORTED = sorted(path for path in (ROOT/'collab_course').rglob('[a-z]*.py') if path.stem != 'all')


@pytest.mark.parametrize('path', EXPORTED, ids=lambda path: path.relative_to(ROOT/'collab_course').as_posix())
def test_a_module_imports_only_what_it_uses(path):
    "What only the notebook needs belongs into a cell that isn't exported"
    assert unused_imports('import numpy as np, torch\nfrom a import b\nnp.pi') == {'torch', 'b'}
    assert not unused_imports(path.read_text(encoding='utf-8'))


@pytest.mark.parametrize('name', FUNCTIONS)
def test_arguments_are_called_what_they_are_called_elsewhere(name):
    arguments = set(inspect.signature(FUNCTIONS[name]).parameters) - {'self', 'cls'}
    unknown = arguments - WORDS - set(OWN.get(name, '').split())
    assert not unknown, f'{name} has {unknown}: use a word of VOCABULARY, or add it there'


@pytest.mark.parametrize('name', PUBLIC)
def test_public_things_have_a_docstring(name):
    if name.endswith(('__init__', '.forward')):
        return
    doc = inspect.getdoc(PUBLIC[name]) or ''
    assert 10 < len(doc.splitlines()[0]) <= 110, doc


@pytest.mark.parametrize('name', FUNCTIONS)
def test_every_argument_is_explained(name):
    if name.endswith('.forward'):
        return
    owner = PUBLIC[name.removesuffix('.__init__')]
    explained = owner if is_dataclass(owner) else FUNCTIONS[name] # which has fields, and no source
    notes = docments(explained)
    missing = [a for a in inspect.signature(FUNCTIONS[name]).parameters
               if a not in ('self', 'cls') and not notes.get(a)]
    source = inspect.getsource(explained)
    missing = [a for a in missing if not re.search(rf'\b{a}\b[^\n]*#|`{a}`', source)]
    assert not missing, name


def imports(file):
    "The modules of the package that a file imports, and the names it takes from them"
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ''
            if node.level or module.startswith('collab_course'):
                module = module.removeprefix('collab_course').strip('.')
                yield module.split('.')[-1], [alias.name for alias in node.names]


@pytest.mark.parametrize('module', FLOW + FURTHER)
def test_imports_go_one_way(module):
    file = ROOT/'collab_course'/f'{module.replace(".", "/")}.py'
    before = [*FLOW, *FURTHER]
    before = [name.split('.')[-1] for name in before[:before.index(module)]]
    assert {name for name, _ in imports(file)} <= set(before)


def test_nobody_imports_what_is_private_to_another_module():
    faults = [f'{file.name}: {name} of {module}' for file in (ROOT/'collab_course').rglob('*.py')
              for module, names in imports(file) for name in names if name.startswith('_') and name != '_modidx']
    assert not faults


@pytest.mark.parametrize('module', WITHOUT_TORCH)
def test_tables_need_neither_torch_nor_fastai(module):
    "Importing those takes seconds"
    code = f'import sys, collab_course.{module}; print(*sys.modules)'
    modules = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split()
    assert not {'torch', 'fastai', 'sklearn', 'matplotlib'} & set(modules)


def test_the_stored_list_of_names_has_the_docstrings_of_today():
    import collab_course.all as everything
    notebook = json.loads((ROOT/'nbs'/'your_own_ratings.ipynb').read_text(encoding='utf-8'))
    outputs = [''.join(out.get('data', {}).get('text/html', '')) for cell in notebook['cells'] for out in cell.get('outputs', [])]
    [table] = [out for out in outputs if '<th>fit_fast</th>' in out]
    stored = {name: html.unescape(says) for name, says in re.findall(r'<th>(\w+)</th>\s*<td>(.*?)</td>', table)}
    assert stored == {name: getattr(everything, name).__doc__.splitlines()[0] for name in stored}
    assert set(stored) == set(everything.__all__) - {'np', 'pd', 'set_seed'}
