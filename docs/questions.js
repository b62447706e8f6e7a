/* Questions that are answered with letters become forms, with the verdicts and hints of the notebook.
   All texts come from two scripts of the page, which docs/questions.py writes:
     course-data     {states, chapters}: the words of the board, and the questions with letters by chapter
     questions-data  {name: question}: the questions on this page
   What the reader answers stays in the browser. */
(() => {
'use strict';
const read = id => JSON.parse(document.getElementById(`${id}-data`)?.textContent ?? 'null');
const course = read('course'), questions = read('questions') ?? {};
if (!course) return;

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const live = className => {
  const region = make('div', {className});
  region.setAttribute('aria-live', 'polite');
  return region;
};


// --- what the browser keeps about each question, as progress() does in a notebook

const KEY = 'collab_course.questions';
const FRESH = {tries: 0, hints: 0, looked: false, solved: '', picked: []};
let session = {}; // for a browser that keeps nothing

function notes() {
  try { return JSON.parse(localStorage.getItem(KEY)) ?? session; }
  catch { return session; }
}
function keep(all) {
  session = all;
  try { localStorage.setItem(KEY, JSON.stringify(all)); } catch { /* it stays in `session` */ }
  refresh();
}
const noteOf = name => ({...FRESH, ...notes()[name]});

function note(name, {tries = 0, hints = 0, looked = false, solved = '', picked}) {
  const old = noteOf(name);
  if (solved === 'alone' && old.looked) solved = 'after looking';
  keep({...notes(), [name]: {
    tries: old.tries + tries, hints: old.hints + hints, looked: old.looked || looked,
    solved: old.solved || solved, picked: picked ?? old.picked}});
}
const stateOf = ({tries, solved}) => tries ? course.states[solved] : 'untried';


// --- verdicts, as by_choice and the checker of an order give them

function judgeChoice(question, picked) {
  const options = picked.map(letter => question.options[letter]);
  const wrong = options.find(option => !option.right);
  const all = Object.values(question.options).filter(option => option.right);
  const incomplete = !wrong && picked.length < all.length;
  const list = options.map(option => `<li>${option.says}</li>`).join('');
  return {
    right: !wrong && !incomplete,
    says: `<ul>${list}</ul>` + (incomplete ? question.more : ''),
    name: wrong ? wrong.name : incomplete ? 'incomplete' : null,
    nudge: wrong ? wrong.nudge : null};
}

function judgeOrder(question, picked) {
  const found = question.sets[[...picked].sort().join('')];
  if (typeof found === 'number') return question.verdicts[found];
  const starts = picked.map((_, i) => picked.slice(0, i + 1).join('')); // 'e', 'eb', 'ebh', ...
  return question.verdicts[found[starts.find(start => start in found)]];
}


// --- forms

function typeset(element) {
  if (element.querySelector('.math')) window.MathJax?.typesetPromise?.([element]);
  dispatchEvent(new Event('resize')); // site.js looks for what scrolls
}

// The options of a choice: one radio button or check box for each item of the card's list
function choiceInput(name, question, list) {
  const inputs = [...list.children].map(item => {
    const letter = item.querySelector('strong').textContent;
    const type = question.one ? 'radio' : 'checkbox';
    const input = make('input', {type, name, value: letter});
    item.replaceChildren(make('label', {}, input, make('span', {}, ...item.childNodes)));
    return input;
  });
  return {
    how: question.one ? 'Choose one.' : 'Choose one or more.',
    elements: [list],
    picked: () => inputs.filter(input => input.checked).map(input => input.value),
    restore: picked => inputs.forEach(input => { input.checked = picked.includes(input.value); })};
}

// An order: the steps that are checked form a second list, in which they can be moved
function orderInput(name, question, list) {
  const choice = choiceInput(name, question, list);
  const texts = Object.fromEntries([...list.children].map(item =>
    [item.querySelector('input').value, item.querySelector('span')]));
  const steps = make('ol'), news = live('visually-hidden');
  let order = [];

  function move(letter, by) {
    const from = order.indexOf(letter), to = from + by;
    [order[from], order[to]] = [order[to], order[from]];
    show();
    const buttons = [...steps.children[to].querySelectorAll('button')];
    (buttons.find(button => button.by === by) ?? buttons[0]).focus();
    news.textContent = `Step ${letter} is now number ${to + 1} of ${order.length}.`;
  }
  function button(letter, by) {
    const [sign, where] = by < 0 ? ['↑', 'up'] : ['↓', 'down'];
    const found = make('button', {type: 'button', by, onclick: () => move(letter, by)}, sign);
    found.setAttribute('aria-label', `Move step ${letter} ${where}`);
    return found;
  }
  function show() {
    steps.replaceChildren(...order.map((letter, i) => {
      const buttons = make('span', {className: 'moves'});
      if (i > 0) buttons.append(button(letter, -1));
      if (i < order.length - 1) buttons.append(button(letter, 1));
      return make('li', {}, make('div', {}, texts[letter].cloneNode(true), buttons));
    }));
    yours.hidden = !order.length;
  }
  const yours = make('div', {className: 'order'}, make('p', {}, 'Your order:'), steps);
  list.addEventListener('change', () => {
    const checked = choice.picked();
    order = order.filter(letter => checked.includes(letter));
    order.push(...checked.filter(letter => !order.includes(letter)));
    show();
  });
  show();
  return {
    how: 'Check the steps that you need, in their order. You can move them afterward.',
    elements: [list, yours, news],
    picked: () => order,
    restore: picked => { choice.restore(picked); order = [...picked]; show(); }};
}

// Show hints one at a time: first the one for the last answer, if there is one, then the question's
function hintButton(name, question, nudge) {
  const hints = live('hints'), shown = [];
  function show(title, text) {
    shown.push(text);
    hints.append(make('div', {innerHTML: `<p><strong>${name}: ${title}</strong></p>${text}`}));
    typeset(hints);
    hints.lastChild.scrollIntoView({block: 'nearest'});
  }
  function hint() {
    const forAnswer = nudge.last, left = question.hints.filter(text => !shown.includes(text));
    nudge.last = null;
    if (forAnswer && !shown.includes(forAnswer)) return show('a hint for your last answer', forAnswer);
    if (left.length) {
      note(name, {hints: 1});
      const number = question.hints.length - left.length + 1;
      return show(`hint ${number} of ${question.hints.length}`, left[0]);
    }
    if (!shown.includes('')) {
      show('no more hints', '');
      hints.lastChild.append(make('p', {}, 'Our answer is folded below.'));
    }
  }
  return [make('button', {type: 'button', className: 'hint', onclick: hint}, 'Hint'), hints];
}

function addForm(name, question, card) {
  const list = [...card.querySelectorAll('ul')].at(-1), form = make('form', {className: 'answer-here', autocomplete: 'off'});
  list.before(form);
  const isChoice = question.kind === 'choice';
  const input = (isChoice ? choiceInput : orderInput)(name, question, list);
  const nudge = {last: null}, [hint, hints] = hintButton(name, question, nudge);
  const verdict = live('verdict'), state = make('span', {className: 'state'});
  const legend = make('legend', {}, make('span', {className: 'visually-hidden'}, `Your answer to ${name}. `), input.how);
  form.append(
    make('fieldset', {}, legend, ...input.elements),
    make('div', {className: 'buttons'}, make('button', {type: 'submit'}, 'Check'), hint, state),
    verdict, hints);

  form.addEventListener('submit', event => {
    event.preventDefault();
    const picked = input.picked();
    if (!picked.length) {
      verdict.className = 'verdict';
      verdict.replaceChildren(make('p', {}, 'Choose an answer first.'));
      return;
    }
    const found = (isChoice ? judgeChoice : judgeOrder)(question, picked);
    verdict.className = found.right ? 'verdict right' : 'verdict wrong';
    verdict.dataset.misconception = found.name ?? '';
    verdict.innerHTML = `<p><strong>${name}: ${found.right ? 'right' : 'not yet'}</strong></p>${found.says}`;
    typeset(verdict);
    verdict.scrollIntoView({block: 'nearest'});
    nudge.last = found.nudge;
    note(name, {tries: 1, solved: found.right ? 'alone' : '', picked});
  });
  input.restore(noteOf(name).picked.filter(letter => card.querySelector(`input[value="${letter}"]`)));
  leaveOutCalls(name, card);
  return state;
}

// How to hand over an answer in a notebook is of no use beside a form
function leaveOutCalls(name, card) {
  const call = /\s[^.?!>]*<code>\w+\.check\([^<]*<\/code>\./; // a sentence with a call of `check`
  for (const paragraph of card.querySelectorAll('p')) {
    if (paragraph.textContent.startsWith(`Answer with ${name}.check`)) paragraph.remove();
    else if (call.test(paragraph.innerHTML)) paragraph.innerHTML = paragraph.innerHTML.replace(call, '');
  }
}

function addHints(name, question, card) {
  const [hint, hints] = hintButton(name, question, {last: null});
  const run = make('p', {className: 'run', innerHTML: question.run});
  card.append(make('div', {className: 'answer-here'},
    make('div', {className: 'buttons'}, hint), hints, run));
}

const states = {}; // name: the element that shows the state of this question

function addTo(name, question) {
  const cards = [...document.querySelectorAll(`section[aria-label^="${name} · "]`)];
  const card = cards.find(found => !found.getAttribute('aria-label').endsWith(': the answer'));
  if (!card) return;
  if (question.kind === 'code') addHints(name, question, card);
  else states[name] = addForm(name, question, card);
  const answer = cards.find(found => found !== card)?.querySelector('details');
  answer?.querySelector('summary').addEventListener('click', () => {
    if (!answer.open) note(name, {looked: true});
  });
}

// The note at a page's first question, where a reader without JavaScript is sent to the notebook
function sayWhatCanBeAnswered() {
  const kinds = Object.values(questions).map(question => question.kind);
  const reader = document.querySelector('.only-read');
  if (!reader || kinds.every(kind => kind === 'code')) return;
  reader.textContent = kinds.includes('code')
    ? 'You can answer the multiple-choice questions here, and your answers stay in this browser. To have code checked,'
    : 'You can answer the questions here, and your answers stay in this browser. To try things out in code,';
}


// --- the board and the contents

const isSolved = note => note.tries > 0 && note.solved !== '';

function refreshBoard() {
  for (const table of document.querySelectorAll('.cell_output table')) {
    const rows = [...table.querySelectorAll('tbody tr')].filter(row => row.cells.length === 5);
    const names = rows.map(row => row.querySelector('td:first-child a')?.textContent);
    if (!names.length || !names.every(name => /^([qrs]\d+|f\d+[a-z])$/.test(name))) continue;
    rows.forEach((row, i) => {
      const found = noteOf(names[i]);
      [stateOf(found), found.tries, found.hints].forEach((text, j) => { row.cells[j + 2].textContent = text; });
    });
    const count = table.previousElementSibling, solved = names.filter(name => isSolved(noteOf(name)));
    count.textContent = count.textContent.replace(/\d+(?= of \d+ answered)/, solved.length);
    if (!table.parentElement.querySelector('.clear-board')) addClearButton(table.parentElement);
  }
}

function addClearButton(board) {
  const clear = () => { if (confirm('Forget the answers that you gave on this site?')) keep({}); };
  const asFile = make('p', {}, 'Firefox keeps the answers of each page apart if it opens pages as files, as here. If you use it, run ',
    make('code', {}, 'python3 -m http.server'), ' in the folder of this site, and open http://localhost:8000.');
  board.append(make('div', {className: 'answer-here clear-board'},
    make('p', {}, 'The board shows the answers that you gave on this site, in this browser. '
      + 'Questions with code are answered in a notebook, which has a board of its own.'),
    ...(location.protocol === 'file:' ? [asFile] : []),
    make('button', {type: 'button', onclick: clear}, 'Clear the board')));
}

function refreshContents() {
  for (const link of document.querySelectorAll('.sidebar-tree a.reference.internal')) {
    const path = decodeURI(new URL(link.href).pathname);
    const chapter = Object.keys(course.chapters).find(name => path.endsWith(`/${name}.html`));
    if (!chapter) continue;
    link.querySelector('.mark')?.remove();
    const found = course.chapters[chapter].map(noteOf);
    if (!found.some(note => note.tries)) continue;
    link.append(make('span', {className: 'mark'}, `${found.filter(isSolved).length}/${found.length}`,
      make('span', {className: 'visually-hidden'}, ' questions answered')));
  }
}

function refresh() {
  for (const [name, element] of Object.entries(states)) {
    const found = noteOf(name);
    element.textContent = found.tries ? stateOf(found) : '';
  }
  refreshBoard();
  refreshContents();
}

Object.entries(questions).forEach(([name, question]) => addTo(name, question));
sayWhatCanBeAnswered();
refresh();
addEventListener('storage', refresh); // answered in another window
addEventListener('pageshow', event => { if (event.persisted) refresh(); }); // back, from a page with answers
})();
