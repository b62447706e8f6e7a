"The questions on the rendered site: the same verdicts and hints as in a notebook, by keyboard and by ear"
import json, random, re
from html.parser import HTMLParser

import pytest

import wings
from test_site import PLACES, ROOT, at_rest, visit # which also puts docs/ on the path
import places, questions
from collab_course import exercises
from collab_course.exercises import engine

PAGES = [name for name in map(wings.name_of, wings.MAIN + wings.FURTHER) if questions.asked(name)]
DEFINED = engine._definitions
WITH_LETTERS = [name for name in engine.all_names() if questions.kind(DEFINED[name]) != 'code']


class Text(HTMLParser):
    "The words of a piece of HTML"
    def __init__(self, html):
        super().__init__()
        self.parts = []
        self.feed(html)
    def handle_data(self, data): self.parts.append(data)

def words(html): return ' '.join(' '.join(Text(html).parts).split())


# --- without a browser

def test_every_question_with_letters_is_recognized():
    by_kind = {kind: [n for n in DEFINED if questions.kind(DEFINED[n]) == kind] for kind in ('choice', 'order')}
    assert by_kind['order'] == ['q2'] and {'q1', 'q12', 's1', 'f10a', 'f16c'} <= set(by_kind['choice'])
    assert by_kind['choice'] == [n for n in DEFINED if DEFINED[n].inert]
    chapters = questions.course()['chapters']
    assert sorted(sum(chapters.values(), [])) == sorted(WITH_LETTERS)
    for chapter, names in chapters.items(): assert set(names) <= set(questions.asked(chapter)), chapter

def test_only_a_question_with_one_right_answer_has_radio_buttons():
    assert [n for n in WITH_LETTERS if questions.question(n, '', '').get('one')] == ['q12']

@pytest.mark.parametrize('name', ['q4', 'r2', 'f10b'])
def test_a_question_with_code_opens_where_the_course_is_published(name):
    here = questions.run('04_dot_product_bias.ipynb', name, 'cell-7')
    assert 'make study' in here and f'at {name}' in here and 'href' not in here
    there = places.Places(ROOT)
    there.published = True
    links = re.findall(r'href="([^"]+)"', questions.run('04_dot_product_bias.ipynb', name, 'cell-7', there))
    assert [host for host in ('colab', 'kaggle', 'mybinder') if any(host in link for link in links)] == ['colab', 'kaggle', 'mybinder']
    assert links[0].endswith('/nbs/04_dot_product_bias.ipynb#scrollTo=cell-7') and all('04_dot_product_bias.ipynb' in link for link in links)

def test_formulas_are_marked_outside_of_code():
    assert questions.with_formulas('<p>$a_i$ or <code>$HOME and $x</code>, $5</p>') == (
        r'<p><span class="math notranslate nohighlight">\(a_i\)</span> or <code>$HOME and $x</code>, $5</p>')

def test_scripts_and_data_of_a_page_stay_small(site):
    for page in sorted(site.rglob('*.html')):
        text = page.read_text(encoding='utf-8')
        inside = sum(map(len, re.findall(r'<script[^>]*>(.*?)</script>', text, re.S)))
        files = [(page.parent/f.partition('?')[0]) for f in re.findall(r'<script[^>]* src="([^"]+)"', text) if 'mathjax' not in f]
        assert inside + sum(f.stat().st_size for f in files if f.exists()) < 1e6, page


# --- in a browser

# Answer each question on a page with each of some answers: title, text and misconception of all verdicts
ANSWER = """answers => Object.fromEntries(Object.entries(answers).map(([name, tries]) => {
    const form = document.querySelector(`section[aria-label^="${name} · "] form`)
    const inputs = [...form.querySelectorAll('input')]
    const click = (letter, on) => { const input = inputs.find(i => i.value === letter); if (input.checked !== on) input.click() }
    return [name, tries.map(letters => {
        if (inputs[0].type === 'checkbox') inputs.forEach(input => click(input.value, false))
        for (const letter of letters) click(letter, true)
        form.querySelector('[type=submit]').click()
        const verdict = form.querySelector('.verdict')
        const [title, ...says] = verdict.children
        return {right: verdict.classList.contains('right'), title: title.textContent,
                says: says.map(e => e.outerHTML).join(' '), name: verdict.dataset.misconception || null}
    })]
}))"""

def tries(name):
    "Each letter alone, the right answer, what lacks one letter or has one too many, and some others"
    d, rng = DEFINED[name], random.Random(name)
    known = questions.letters(d)
    if questions.kind(d) == 'order':
        right = re.search(r"check\('(\w+)'\)", d.code)[1]
        starts = [right[:n] for n in range(1, len(right) + 1)]
        swapped = [right[:i] + right[i+1] + right[i] + right[i+2:] for i in range(len(right) - 1)]
        others = [''.join(rng.sample(right, len(right))) for _ in range(40)]
        others += [''.join(rng.sample(known, rng.randint(2, len(known)))) for _ in range(60)]
        return [*known, *starts, *swapped, *others]
    found = questions.choice(d)
    right = ''.join(l for l, option in found['options'].items() if option['right'])
    if found['one']:
        return [*known]
    sets = [{*right} ^ {l} for l in known]
    sets += [{*rng.sample(known, rng.randint(2, len(known)))} for _ in range(5)]
    return [*known, right, *(''.join(sorted(s)) for s in sets if s)]

def test_verdicts_are_those_of_the_checkers(browser, site):
    asked = {page: [n for n in questions.asked(page) if n in WITH_LETTERS] for page in PAGES}
    repeated = asked['09_questionnaire'] # on the board's page, all of the course again
    pages = {'09_questionnaire': repeated} | {p: names for p, names in asked.items() if not set(names) <= set(repeated)}
    assert sorted(sum(pages.values(), [])) == sorted(WITH_LETTERS)
    faults, n = [], 0
    tab = browser.new_context().new_page()
    tab.on('pageerror', lambda e: faults.append(str(e)))
    for page, names in pages.items():
        tab.goto((site/f'{page}.html').as_uri(), wait_until='domcontentloaded')
        answers = {name: tries(name) for name in names}
        for name, verdicts in tab.evaluate(ANSWER, answers).items():
            for answer, got in zip(answers[name], verdicts, strict=True):
                want = engine.judge(getattr(exercises, name), answer, apart=False)
                want = {'right': bool(want), 'title': want._title, 'name': want.misconception, 'says': words(questions.to_html(want._body))}
                if (got := got | {'says': words(got['says'])}) != want: faults.append((name, answer, got, want))
                n += 1
    tab.context.close()
    assert not faults, faults[:3]
    assert n > 700

def stored(tab): return json.loads(tab.evaluate("localStorage.getItem('collab_course.questions')"))

def press(tab, *keys):
    for key in keys: tab.keyboard.press(key)

def test_a_choice_by_keyboard_its_hints_and_where_it_is_shown(browser, site):
    tab = visit(browser, site, '00_movielens.html')
    form = tab.locator('#q1 form')
    assert form.get_by_role('group', name='Your answer to q1').count() == 1
    assert 'q1.check' not in tab.locator('section[aria-label="q1 · What collaborative filtering is for"]').inner_text()
    assert 'You can answer the multiple-choice questions here' in tab.locator('#q1').inner_text()
    assert not tab.locator('.mark').count()
    form.get_by_role('button', name='Check').focus(); press(tab, 'Enter')
    assert form.locator('.verdict').inner_text() == 'Choose an answer first.' # which is no try

    form.get_by_role('checkbox').first.focus(); press(tab, 'Space', 'Tab', 'Space') # a and b
    assert form.get_by_role('checkbox', name='b: A news site').is_checked()
    press(tab, *['Tab']*5, 'Enter')
    assert form.locator('.verdict').get_attribute('data-misconception') == 'by-genre'
    assert form.locator('.verdict[aria-live=polite] li').count() == 2
    press(tab, 'Tab', *['Enter']*7)
    d, verdict = DEFINED['q1'], engine.judge(exercises.q1, 'ab')
    hints = [(f'q1: hint {i} of 4', words(questions.to_html(hint))) for i, hint in enumerate(d.hints, 1)]
    want = [('q1: a hint for your last answer', words(questions.to_html(verdict._nudge))), *hints, ('q1: no more hints', 'Our answer is folded below.')]
    got = form.locator('.hints[aria-live=polite] > div').evaluate_all('l => l.map(e => [...e.children].map(c => c.outerHTML))')
    assert [(words(title), words(' '.join(text))) for title, *text in got] == want
    assert stored(tab) == {'q1': {'tries': 1, 'hints': 4, 'looked': False, 'solved': '', 'picked': ['a', 'b']}}

    mark = tab.locator('.sidebar-tree a.current .mark')
    assert mark.text_content() == '0/2 questions answered'
    tab.reload()
    assert form.locator(':checked').evaluate_all('l => l.map(e => e.value)') == ['a', 'b'] and form.locator('.state').inner_text() == 'tried'
    form.locator('[value=a]').uncheck(); form.locator('[value=f]').check(); form.locator('[type=submit]').click()
    assert form.locator('.verdict.right').count() and mark.inner_text().startswith('1/2')

    tab.locator('#s1 summary').last.click() # after looking at the answer
    for letter in 'ace': tab.locator(f'#s1 [value={letter}]').check()
    tab.locator('#s1 [type=submit]').click()
    tab.goto((site/'09_questionnaire.html').as_uri())
    assert tab.locator('.sidebar-tree a[href="00_movielens.html"] .mark').inner_text().startswith('2/2')
    row = lambda name: tab.locator(f'tr:has(td:first-child > a[href$="#{name}"])').first.locator('td').all_inner_texts()
    assert row('q1')[2:] == ['answered', '2', '4'] and row('s1')[2:] == ['solved after looking', '1', '0'] and row('q2')[2:] == ['untried', '0', '0']
    text = tab.locator('.clear-board').locator('xpath=..').inner_text()
    assert f'2 of {sum(not engine._is_further(n) for n in DEFINED)} answered' in text and 'Further research: 0 of' in text
    tab.on('dialog', lambda dialog: dialog.accept())
    tab.get_by_role('button', name='Clear the board').click()
    assert row('q1')[2:] == ['untried', '0', '0'] and not tab.locator('.mark').count() and stored(tab) == {}
    assert not tab.faults
    tab.context.close()

def test_an_order_by_keyboard_and_a_question_with_code(browser, site):
    tab = visit(browser, site, '02_dot_product.html')
    form = tab.locator('#q2 form')
    box = lambda letter: form.locator(f'[value={letter}]')
    steps = lambda: ''.join(form.locator('.order li strong').all_inner_texts())
    for letter in 'ebchga':
        box(letter).focus(); press(tab, 'Space')
    assert steps() == 'ebchga'
    box('c').focus(); press(tab, 'Space')
    box('d').focus(); press(tab, 'Space')
    assert steps() == 'ebhgad'
    form.get_by_role('button', name='Move step d up').focus(); press(tab, *['Enter']*5)
    assert steps() == 'debhga' # the focus went along, to the button that is left at the top
    assert tab.evaluate('document.activeElement.getAttribute("aria-label")') == 'Move step d down'
    assert form.locator('.order ~ [aria-live=polite]').inner_text() == 'Step d is now number 1 of 6.'
    form.get_by_role('button', name='Check').focus(); press(tab, 'Enter')
    assert form.locator('.verdict').get_attribute('data-misconception') == 'loop-too-early'
    form.get_by_role('button', name='Move step d down').focus(); press(tab, *['Enter']*5)
    form.get_by_role('button', name='Check').focus(); press(tab, 'Enter')
    assert form.locator('.verdict.right').count()
    tab.reload()
    assert steps() == 'ebhgad' and form.locator('.state').inner_text() == 'answered'

    code = tab.locator('section[aria-label="q7 · A dot product by hand"]')
    assert 'q7.check(dot)' in code.inner_text() and not code.locator('input').count()
    code.get_by_role('button', name='Hint').click()
    assert words(questions.to_html(DEFINED['q7'].hints[0])) in words(code.locator('.hints').inner_html())
    assert PLACES.published or 'open 02_dot_product.ipynb at q7' in code.inner_text()
    assert not tab.faults
    tab.context.close()

def test_the_board_is_right_after_the_browser_goes_back(browser, site):
    "A browser that keeps the page runs no script again, but says `pageshow`"
    tab = visit(browser, site, '09_questionnaire.html')
    row = tab.locator('tr:has(td:first-child > a[href$="#q1"])').first.locator('td')
    tab.evaluate("""localStorage.setItem('collab_course.questions', '{"q1": {"tries": 1, "solved": "alone"}}')""")
    assert row.all_inner_texts()[2] == 'untried'
    tab.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    assert row.all_inner_texts()[2:4] == ['answered', '1']
    assert tab.locator('.sidebar-tree a[href="00_movielens.html"] .mark').inner_text().startswith('1/2')
    assert 'python3 -m http.server' in tab.locator('.clear-board').inner_text() # this page was opened as a file
    tab.context.close()

def test_code_in_a_question_stands_out_and_clear_of_a_scrollbar(browser, site):
    tab = visit(browser, site, '01_crosstab.html')
    code = tab.locator('div.cell_output section pre').first
    assert code.evaluate('e => getComputedStyle(e).backgroundColor') not in ('rgba(0, 0, 0, 0)', 'transparent')
    assert code.evaluate('e => parseFloat(getComputedStyle(e).paddingBottom)') > 6
    tab.context.close()

def test_formulas_are_set_in_hints_and_answers(browser, site):
    tab = visit(browser, site, 'further/13c_two_stages.html')
    tab.locator('#f13g button.hint').click()
    tab.locator('#f13g .hints mjx-container').first.wait_for()
    assert '$' not in tab.locator('#f13g .hints').inner_text() and not tab.faults
    tab.goto((site/'09_questionnaire.html').as_uri()) # where no other text has formulas
    tab.locator('#s3 summary').last.click()
    tab.locator('#s3 mjx-container').first.wait_for()
    tab.context.close()

def test_without_javascript_questions_are_read_as_in_a_notebook(browser, site):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto((site/'02_dot_product.html').as_uri())
    text = tab.locator('#q2').inner_text()
    for part in ("You can only read", "To have your answers checked"): assert part in tab.locator('article').inner_text()
    assert 'Multiply each number by the learning rate.' in text and "Answer with q2.check('abc'). Stuck? q2.hint()" in text
    assert not tab.locator('form.answer-here, .answer-here button').count() and '"kind"' not in tab.locator('body').inner_text()
    tab.locator('#q2 summary').last.click()
    assert 'Many people list only three steps' in tab.locator('#q2').inner_text()
    context.close()

@pytest.mark.parametrize('width, theme', [(390, 'light'), (1366, 'dark'), (1920, 'light')])
def test_forms_fit_and_are_read_by_ear(browser, site, width, theme):
    tab = visit(browser, site, '02_dot_product.html', viewport={'width': width, 'height': 800}, color_scheme=theme)
    tab.evaluate(ANSWER, {'q2': ['ebhgacd'], 'q6': ['ac'], 'q12': ['a']})
    for name in ('q2', 'q6', 'q7', 'q12'): tab.locator(f'#{name} button.hint').click()
    Axe = pytest.importorskip('axe_playwright_python.sync_playwright').Axe
    parts = [['#q2'], ['#q6'], ['#q7'], ['#q12'], ['.sidebar-tree']]
    found = Axe().run(at_rest(tab), context={'include': parts}, options={'resultTypes': ['violations']}).response['violations']
    assert not [(v['id'], v['nodes'][0]['html'][:200]) for v in found]
    assert tab.evaluate('document.documentElement.scrollWidth') <= width
    tab.context.close()
