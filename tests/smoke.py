"Without the development tools, every module can be imported and a model can be trained"
import importlib, pkgutil, sys

sys.modules['nbdev'] = sys.modules['execnb'] = None  # importing either is now an error
import collab_course

names = [o.name for o in pkgutil.walk_packages(collab_course.__path__, 'collab_course.') if not o.name.endswith('_modidx')]
for name in names: importlib.import_module(name)

import fastai, fastcore, numpy as np, pandas as pd, torch
from collab_course.training import baseline_mse, fit, losses
from collab_course.dot_product_bias import DotProductBias
from collab_course.loader import collab_dls

ratings = pd.DataFrame([(f'person {u}', f'film {i}', 1 + u%3 + i%3) for u in range(20) for i in range(20)], columns=['user', 'title', 'rating'])
dls = collab_dls(ratings, seed=0, bs=32)
learn = fit(dls, DotProductBias.from_dls(dls, 5), lr=5e-2)
assert losses(learn)['train'].is_monotonic_decreasing
assert losses(learn)['valid'].iloc[-1] < baseline_mse(dls)['mean']
print(f'collab_course {collab_course.__version__} with fastai {fastai.__version__}, fastcore {fastcore.__version__}, torch {torch.__version__}, '
      f'pandas {pd.__version__}, numpy {np.__version__}: '
      f'{len(names)} modules import, and a model trains')
