"The page `Try it`, on which visitors rate movies, and the slider of chapter 02"
import base64, json, re

import numpy as np, pandas as pd
import pytest

from test_site import ROOT, at_rest, visit
import try_it # in docs, to which test_site has made a path
from collab_course.bootstrapping import recommend

def violations(tab, here):
    "The findings of axe-core within the element `here`"
    Axe = pytest.importorskip('axe_playwright_python.sync_playwright').Axe
    found = Axe().run(at_rest(tab), context=here, options={'resultTypes': ['violations'], 'preload': False}).response['violations']
    return [(v['id'], v['nodes'][0]['html'][:200]) for v in found]

def random_visitors(n=50, seed=0):
    "Random ratings of 0 to 30 of the movies on the page, as dicts from movie number to stars"
    rng = np.random.default_rng(seed)
    def one(k): return dict(zip(rng.choice(try_it.N_MOVIES, k, replace=False).tolist(), rng.integers(1, 6, k).tolist()))
    return [one(k) for k in (0, 1, *rng.integers(2, 31, n - 2))]

def as_table(visitors):
    "The ratings of `visitors` as an array, users x movies"
    stars = np.full((len(visitors), try_it.N_MOVIES), np.nan)
    for row, answers in zip(stars, visitors): row[list(answers)] = list(answers.values())
    return stars

def test_rounding_the_rows_changes_no_prediction_by_a_thousandth_of_a_star():
    model, stars = try_it.model(), as_table(random_visitors())
    whole, scale = try_it.quantized(model.items)
    rounded = try_it.Frozen(model.learn, model.titles, whole*scale, model.prior)
    loss = abs(try_it.predict(rounded, stars)[0] - try_it.predict(model, stars)[0]).max()
    assert 0 < loss < .001
    assert whole.nbytes < 50e3

def test_the_page_holds_no_ratings_and_promises_what_it_keeps(site):
    text = (site/'try_it.html').read_text(encoding='utf-8')
    data = json.loads(re.search(r'id="try-data">(.*?)</script>', text, re.S)[1])
    sizes = {key: np.size(value) for key, value in data.items() if isinstance(value, list)}
    numbers = len(data['prior'])
    assert sizes == {'titles': 300, 'scale': numbers, 'prior': numbers, 'range': 2, 'cuts': 4, 'directions': 2*(numbers - 1),
                     'center': numbers - 1, 'share': 2, 'known': 7, 'error': 7, 'baseline': 7}
    assert set(data) - set(sizes) == {'rows', 'l2', 'steps', 'noise', 'weight', 'sure', 'zoom'}
    assert len(base64.b64decode(data['rows'])) == 300*numbers*2 and len(text) < 200e3
    rows = re.split('<tr', re.sub(r'</?p>', '', text.split('>promised share<')[1].split('</table>')[0]))[1:]
    known, error, baseline, promised, actual = np.array([[float(n) for n in re.findall(r'>([\d.]+)%?<', row)] for row in rows]).T
    assert known.tolist() == data['known'] and np.allclose(error, data['error'], atol=.001)
    assert promised.min() >= 80 and abs(promised - actual).max() < 3 and abs((promised - actual).mean()) < 1.5
    assert error[-1] < error[0] - .04

def test_the_front_page_and_chapter_07_lead_to_the_page_that_recommends(site):
    for name in ('index', '07_bootstrapping'): # from their text: the sidebar leads there from everywhere
        article = (site/f'{name}.html').read_text(encoding='utf-8').split('<article')[1].split('</article>')[0]
        assert 'href="try_it.html"' in article, name

def test_ranges_are_the_shortest_likely_ones():
    p = np.array([[0, 0, .1, .3, .6], [.2, .2, .2, .2, .2], [.9, .1, 0, 0, 0], [.05, .4, .1, .4, .05]])
    assert try_it.ranges(p).round(6).tolist() == [[4, 5, .9], [1, 4, .8], [1, 1, .9], [2, 4, .9]]

def test_chances_are_fitted():
    rng = np.random.default_rng(0)
    fitted = [.2, .5, 1.5, 2.5, 3.4, 4.3]
    table = pd.DataFrame({'predicted': rng.uniform(2, 4.8, 20_000), 'variance': rng.uniform(0, .8, 20_000)})
    p = try_it.chances(fitted, table['predicted'], table['variance'])
    assert np.allclose(p.sum(axis=1), 1)
    table['stars'] = 1 + (rng.random(20_000)[:,None] > p.cumsum(axis=1)[:,:4]).sum(axis=1)
    assert np.allclose(try_it.fit_chances(table), fitted, atol=.1)

def test_visitors_get_what_recommend_returns(browser, site):
    tab, visitors = visit(browser, site, 'try_it.html'), random_visitors()
    found = tab.evaluate("""visitors => visitors.map(answers => {
        const ratings = new Map(answers), visitor = tryIt.foldIn(ratings), best = tryIt.recommend(visitor, ratings)
        return best.map(movie => ({...movie, ...tryIt.range(tryIt.chances(visitor, movie.i)), p: tryIt.chances(visitor, movie.i)}))
    })""", [list(map(list, answers.items())) for answers in visitors])
    tab.context.close()
    model = try_it.model()
    titles, prior = model.titles, pd.Series(model.prior, ['bias', *range(len(model.prior) - 1)])
    others = pd.Index(model.learn.dls.classes['title'][1:]).difference(titles)
    data = json.loads(re.search(r'id="try-data">(.*?)</script>', (site/'try_it.html').read_text(encoding='utf-8'), re.S)[1])
    preds, variance = try_it.predict(model, as_table(visitors))
    for answers, best, row, doubt in zip(visitors, found, preds, variance):
        named = {titles[i]: stars for i, stars in answers.items()}
        expected = recommend(model.learn, answers=named, prior=prior, exclude=others)
        assert np.allclose([movie['stars'] for movie in best], expected, atol=.005)
        assert np.allclose(expected[[movie['title'] for movie in best]], expected, atol=.005) # the same movies, unless they tie
        at = [movie['i'] for movie in best]
        chances = try_it.chances([data['noise'], data['weight'], *data['cuts']], row[at], doubt[at])
        assert np.allclose([movie['p'] for movie in best], chances, atol=.005)
        assert np.allclose([movie['chance'] for movie in best], try_it.ranges(np.array([movie['p'] for movie in best]))[:,2])

def test_a_visitor_rates_movies_by_keyboard_and_is_forgotten(browser, site):
    tab = visit(browser, site, 'try_it.html', viewport={'width': 390, 'height': 844}, color_scheme='dark')
    def first(): return tab.locator('#try-list tbody td').first.inner_text()
    def press(*keys):
        for key in keys: tab.keyboard.press(key)
    def stored(): return json.loads(tab.evaluate("localStorage.getItem('collab-course-ratings')") or '{}')
    lists = [tab.locator('#try-list').inner_text()]
    box = tab.get_by_role('combobox')
    box.focus()
    for n in range(1, 11): # the movies with the most ratings, from five stars to one
        press('ArrowDown')
        assert box.get_attribute('aria-expanded') == 'true'
        press(*['ArrowDown']*(n - 1))
        assert tab.locator(f"#{box.get_attribute('aria-activedescendant')}").get_attribute('aria-selected') == 'true'
        press('Enter', *['ArrowLeft' if n > 5 else 'ArrowRight'], *['ArrowRight']*(n % 3), 'Enter')
        assert len(stored()) == n and box.evaluate('e => e === document.activeElement')
        lists.append(tab.locator('#try-list').inner_text())
        assert f'{n} rating' in tab.get_by_role('status').inner_text() and first() in tab.get_by_role('status').inner_text()
    assert len(set(lists)) == 11 # each rating changes the list
    assert not set(stored()) & set(tab.locator('#try-list button').all_inner_texts()) # what is rated isn't recommended
    box.fill('zzz')
    assert box.get_attribute('aria-expanded') == 'false' and 'None of the 300' in tab.get_by_role('status').inner_text()
    box.fill(next(iter(stored()))[:4])
    assert not violations(tab, '#try-app') # with the list open
    press('Escape', 'Escape')
    assert not tab.locator('#try-matches').is_visible()
    before = stored()
    tab.reload()
    assert stored() == before and tab.locator('#try-list').inner_text() == lists[-1]
    tab.locator('#try-rated button').first.focus(); press('Enter')
    assert len(stored()) == 9 and tab.evaluate("document.activeElement.ariaLabel").startswith('Remove')
    tab.locator('#try-list button').first.click()
    assert tab.evaluate("document.activeElement.type") == 'radio'
    tab.get_by_role('button', name='Forget all').focus(); press('Enter')
    assert not stored() and tab.locator('#try-list').inner_text() == lists[0] and box.evaluate('e => e === document.activeElement')
    assert not tab.faults and all(u.startswith('file:') for u in tab.loaded)
    tab.context.close()

def test_the_crosstab_fills_by_keyboard(browser, site):
    tab = visit(browser, site, '02_dot_product.html')
    slider = tab.get_by_role('slider')
    slider.focus()
    assert not tab.locator('#filling').evaluate('e => e.previousElementSibling.querySelector(".cell_output").offsetHeight')
    def cells(): return [float(text) for text in tab.locator('#filling-table text:not(.name)').all_text_contents()]
    last = cells()
    if try_it.ratings().truth is None: # the last step is that of the notebook
        notebook = json.loads((ROOT/'nbs'/'02_dot_product.ipynb').read_text(encoding='utf-8'))
        cell = next(c for c in notebook['cells'] if ''.join(c['source']).startswith('final = '))
        ends = re.findall(r'tensor\(([\d.]+)\)', ''.join(cell['outputs'][0]['data']['text/plain']))[:2]
        assert [min(last), max(last)] == [round(float(end), 1) for end in ends]
    tab.keyboard.press('Home')
    assert slider.get_attribute('aria-valuetext').startswith('step 0,') and max(cells()) < min(3, max(last))
    for _ in range(8): tab.keyboard.press('ArrowRight')
    assert slider.get_attribute('aria-valuetext').startswith('step 8,')
    assert 'step 8,' in tab.locator('#filling-table svg').get_attribute('aria-label')
    assert float(tab.locator('#filling-now').inner_text().split()[-1]) > 1
    assert not tab.faults
    tab.context.close()

OUTSIDE = """here => {
    const box = document.querySelector(here).getBoundingClientRect(), wide = document.documentElement.scrollWidth
    const seen = [...document.querySelectorAll(here + ' *')].filter(e => e.getClientRects().length && !e.matches('h2, .try-unseen, title'))
    const out = seen.filter(e => e.getBoundingClientRect().right > box.right + 1 || e.getBoundingClientRect().left < box.left - 1)
    return [...out.map(e => e.outerHTML.slice(0, 120)), ...(wide > innerWidth ? [wide] : [])]
}"""
SOME_RATINGS = "JSON.stringify(Object.fromEntries(tryIt.data.titles.slice(0, 12).map((title, i) => [title, 1 + i % 5])))"

@pytest.mark.parametrize('name, here', [('try_it.html', '#try-app'), ('02_dot_product.html', '#filling')])
def test_both_fit_and_can_be_read_at_any_width(browser, site, name, here):
    tab, faults = visit(browser, site, name), []
    if name == 'try_it.html':
        tab.evaluate(f"localStorage.setItem('collab-course-ratings', {SOME_RATINGS})")
        tab.reload()
        free = "e => e.getBoundingClientRect().left + e.clientWidth - e.querySelector('button').getBoundingClientRect().right"
        assert tab.locator('#try-rated').evaluate(free) > 20 # some browsers draw the scrollbar over the list
    for width, theme in [(390, 'dark'), (1366, 'light'), (1366, 'dark'), (1920, 'light')]:
        tab.set_viewport_size({'width': width, 'height': 844})
        tab.emulate_media(color_scheme=theme)
        faults += [(width, theme, fault) for fault in at_rest(tab).evaluate(OUTSIDE, here)]
        if (width, theme) in [(390, 'dark'), (1366, 'light')]: faults += violations(tab, here)
    assert not faults + tab.faults
    tab.context.close()

def test_without_javascript_there_is_a_table_and_a_picture(browser, site):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto((site/'try_it.html').as_uri())
    assert tab.get_by_text('that needs JavaScript').is_visible() and tab.locator('#try-static tbody tr').count() == 10
    assert not tab.locator('#try-app').is_visible()
    tab.goto((site/'02_dot_product.html').as_uri())
    assert not tab.locator('#filling').is_visible() and tab.locator('div.cell:has(+ #filling) img').locator('visible=true').count() == 1
    context.close()
