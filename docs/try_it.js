// Try it: a visitor rates movies, and this page folds the visitor into a trained model.
// docs/try_it.py computes the numbers in #try-data and has the same formulas in Python.
// Ratings are kept in this browser's localStorage only.

const tryIt = (() => {
'use strict'

const $ = name => document.getElementById('try-' + name)
const data = JSON.parse($('data').textContent)
const [low, high] = data.range
const width = data.prior.length // of a row: the bias, then the factors
const rows = decoded(data.rows)
const inputs = rows.map(row => [1, ...row.slice(1)]) // the 1 is for the visitor's bias


// --- the model

// The rows of the movies, from 16-bit integers in base64
function decoded(text) {
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0))
  const whole = new Int16Array(bytes.buffer)
  return data.titles.map((_, i) => data.scale.map((scale, k) => whole[i*width + k]*scale))
}

const dot = (a, b) => {
  let sum = 0
  for (let k = 0; k < a.length; k++) sum += a[k]*b[k]
  return sum
}
const sigmoid = x => 1/(1 + Math.exp(-x))
const predicted = (row, i) => low + (high - low)*sigmoid(rows[i][0] + dot(row, inputs[i]))
const slope = stars => (stars - low)*(high - stars)/(high - low)

// The lower triangle L of a symmetric matrix A, so that A = L times L transposed
function cholesky(A) {
  const L = A.map(row => row.slice())
  for (let j = 0; j < L.length; j++) {
    for (let i = j; i < L.length; i++) {
      let sum = A[i][j]
      for (let k = 0; k < j; k++) sum -= L[i][k]*L[j][k]
      L[i][j] = i === j ? Math.sqrt(sum) : sum/L[j][j]
    }
  }
  return L
}

// The solution z of L z = b
function forward(L, b) {
  const z = []
  for (let i = 0; i < b.length; i++) {
    let sum = b[i]
    for (let k = 0; k < i; k++) sum -= L[i][k]*z[k]
    z[i] = sum/L[i][i]
  }
  return z
}

// The solution x of (L transposed) x = z
function backward(L, z) {
  const x = []
  for (let i = z.length - 1; i >= 0; i--) {
    let sum = z[i]
    for (let k = i + 1; k < z.length; k++) sum -= L[k][i]*x[k]
    x[i] = sum/L[i][i]
  }
  return x
}

// The visitor's row, and the triangle of the last matrix. `ratings` maps movie numbers to stars.
// This is `fold_in` of chapter 07: ridge regressions in which tangents replace the sigmoid.
function foldIn(ratings) {
  let row = data.prior, L
  for (let step = 0; step < data.steps; step++) {
    const matrix = row.map((_, j) => row.map((_, k) => j === k ? data.l2 : 0))
    const pull = row.map((value, k) => data.l2*(data.prior[k] - value))
    for (const [i, stars] of ratings) {
      const x = inputs[i], guess = predicted(row, i), tangent = slope(guess)
      for (let j = 0; j < width; j++) {
        const line = matrix[j], factor = tangent*tangent*x[j]
        pull[j] += tangent*(stars - guess)*x[j]
        for (let k = 0; k <= j; k++) line[k] += factor*x[k] // `cholesky` reads the lower half only
      }
    }
    L = cholesky(matrix)
    const move = backward(L, forward(L, pull))
    row = row.map((value, k) => value + move[k])
  }
  return {row, L}
}

// The probabilities of one to five stars. The less the ratings determine the visitor's row, the
// larger is the variance, and the flatter are the probabilities.
function chances(visitor, i) {
  const stars = predicted(visitor.row, i), z = forward(visitor.L, inputs[i])
  const sd = Math.sqrt(data.noise + data.weight*slope(stars)**2*dot(z, z))
  const atMost = [0, ...data.cuts.map(cut => sigmoid((cut - stars)/sd)), 1]
  return atMost.slice(1).map((p, k) => p - atMost[k])
}

// The shortest run of stars that is likely enough
function range(p) {
  for (let length = 1; length <= p.length; length++) {
    const runs = []
    for (let first = 0; first + length <= p.length; first++) {
      runs.push(p.slice(first, first + length).reduce((a, b) => a + b))
    }
    const chance = Math.max(...runs), from = runs.indexOf(chance) + 1
    if (chance >= data.sure - 1e-9) return {from, to: from + length - 1, chance}
  }
}

// The n unrated movies with the highest predictions
function recommend(visitor, ratings, n = 10) {
  const left = data.titles.map((title, i) => ({title, i, stars: predicted(visitor.row, i)}))
    .filter(movie => !ratings.has(movie.i))
  return left.sort((a, b) => b.stars - a.stars).slice(0, n)
}


// --- what the visitor has rated

const KEY = 'collab-course-ratings'
const stars = new Map() // movie number -> 1 to 5, or 0 if it has been picked but not rated
const rated = () => new Map([...stars].filter(([, value]) => value > 0))

function load() {
  try {
    for (const [title, value] of Object.entries(JSON.parse(localStorage.getItem(KEY)) || {})) {
      const i = data.titles.indexOf(title)
      if (i >= 0 && [1, 2, 3, 4, 5].includes(value)) stars.set(i, value)
    }
  } catch { /* no storage, or something else in it: start without ratings */ }
}

function save() {
  const ratings = Object.fromEntries([...rated()].map(([i, value]) => [data.titles[i], value]))
  try {
    if (rated().size) localStorage.setItem(KEY, JSON.stringify(ratings))
    else localStorage.removeItem(KEY)
  } catch { /* no storage: the ratings last as long as the page */ }
}


// --- small helpers for the page

const SVG = 'http://www.w3.org/2000/svg'
const HTML = 'http://www.w3.org/1999/xhtml'

// A new element; `attributes` may contain a text
function make(tag, {text, ...attributes} = {}, space = HTML) {
  const element = document.createElementNS(space, tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  if (text !== undefined) element.textContent = text
  return element
}
const draw = (tag, attributes) => make(tag, attributes, SVG)
const count = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`
const percent = p => Math.round(100*p) + '%'

// A title without its year, of at most 24 characters
function short(title) {
  const bare = title.replace(/(, The)?( \(.*\))?$/, '')
  return bare.length > 24 ? bare.slice(0, 23) + '…' : bare
}


// --- finding a movie: a text box with a list of matches below it

const input = $('input'), matches = $('matches')
let active = -1 // number of the highlighted match

const plain = text => text.normalize('NFD').replace(/[\u0300-\u036f]/g, '').toLowerCase()
const searchable = data.titles.map(plain)

// Movies whose titles contain all words of `text`; those in which words of the title begin so come first
function find(text) {
  const words = plain(text).split(/[^\p{L}\p{N}]+/u).filter(Boolean)
  const has = (title, start) => words.every(word => (start + title).includes(start + word))
  const begins = i => has(searchable[i].replace(/[^\p{L}\p{N}]+/gu, ' '), ' ')
  const found = [...searchable.keys()].filter(i => has(searchable[i], ''))
  return [...found.filter(begins), ...found.filter(i => !begins(i))]
}

function openMatches() {
  const found = find(input.value)
  matches.replaceChildren(...found.map((i, k) => {
    const note = stars.get(i) ? ` (you gave ${stars.get(i)})` : ''
    const option = make('li', {id: `try-match-${k}`, role: 'option', 'aria-selected': false, text: data.titles[i] + note})
    option.dataset.movie = i
    return option
  }))
  matches.hidden = !found.length
  input.setAttribute('aria-expanded', Boolean(found.length))
  highlight(-1)
  if (!found.length) say(`None of the ${data.titles.length} movies has this in its title.`)
}

function closeMatches() {
  matches.hidden = true
  input.setAttribute('aria-expanded', false)
  highlight(-1)
}

function highlight(k) {
  const options = [...matches.children]
  active = k
  options.forEach((option, j) => option.setAttribute('aria-selected', j === k))
  if (k < 0) return input.removeAttribute('aria-activedescendant')
  input.setAttribute('aria-activedescendant', options[k].id)
  options[k].scrollIntoView({block: 'nearest'})
}

function pick(option) {
  input.value = ''
  closeMatches()
  add(Number(option.dataset.movie))
}

input.addEventListener('input', openMatches)
input.addEventListener('click', openMatches)
input.addEventListener('blur', closeMatches)
input.addEventListener('keydown', event => {
  const n = matches.children.length
  if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
    if (matches.hidden) openMatches()
    const step = event.key === 'ArrowDown' ? 1 : -1
    const start = active < 0 && step < 0 ? 0 : active
    if (matches.children.length) highlight((start + step + matches.children.length)%matches.children.length)
  } else if (event.key === 'Enter' && !matches.hidden) {
    pick(matches.children[Math.max(active, 0)])
  } else if (event.key === 'Escape') {
    if (matches.hidden) input.value = ''
    closeMatches()
  } else return
  event.preventDefault()
})
matches.addEventListener('mousedown', event => {
  event.preventDefault() // the text box keeps the focus, so the list stays open until the click
})
matches.addEventListener('click', event => {
  const option = event.target.closest('li')
  if (option) pick(option)
})


// --- rating a movie: five radio buttons that look like stars

// The entry of a movie in the list of ratings
function entry(i) {
  const item = make('li')
  const group = make('fieldset')
  group.append(make('legend', {text: data.titles[i]}))
  for (let value = 1; value <= 5; value++) {
    const label = make('label')
    const radio = make('input', {type: 'radio', name: `try-movie-${i}`, value})
    radio.checked = value === stars.get(i)
    radio.addEventListener('change', () => rate(i, value))
    label.append(radio, make('span', {'aria-hidden': true, text: '★'}),
                 make('span', {class: 'try-unseen', text: count(value, 'star')}))
    group.append(label)
  }
  group.addEventListener('keydown', event => {
    if (event.key === 'Enter') input.focus()
  })
  const remove = make('button', {type: 'button', 'aria-label': `Remove ${data.titles[i]}`, title: 'Remove', text: '×'})
  remove.addEventListener('click', () => drop(i))
  item.append(group, remove)
  item.dataset.movie = i
  show(item, stars.get(i))
  return item
}

const entryOf = i => $('rated').querySelector(`[data-movie="${i}"]`)

function show(item, value) {
  item.querySelectorAll('label').forEach((label, k) => label.classList.toggle('on', k < value))
}

function add(i) {
  if (!stars.has(i)) {
    stars.set(i, 0)
    $('rated').prepend(entry(i))
    showButtons()
  }
  const radios = [...entryOf(i).querySelectorAll('input')]
  const chosen = radios.find(radio => radio.checked) || radios[0]
  chosen.focus()
}

function rate(i, value) {
  stars.set(i, value)
  show(entryOf(i), value)
  update()
}

function drop(i) {
  const item = entryOf(i), next = item.nextElementSibling || item.previousElementSibling
  stars.delete(i)
  item.remove()
  update()
  const target = next ? next.querySelector('button') : input
  target.focus()
  if (!next) closeMatches()
}

$('forget').addEventListener('click', () => {
  stars.clear()
  $('rated').replaceChildren()
  update()
  input.focus()
})


// --- the list of recommendations

function say(text) { $('news').textContent = text }

// Small bars for the probabilities, dark within the likely range
function bars(p, {from, to}) {
  const picture = draw('svg', {class: 'try-bars', viewBox: '0 0 40 16', 'aria-hidden': true})
  p.forEach((chance, k) => {
    const tall = Math.max(16*chance, .8)
    const likely = from <= k + 1 && k + 1 <= to
    picture.append(draw('rect', {x: 8*k, y: 16 - tall, width: 7, height: tall, class: likely ? 'in' : 'out'}))
  })
  return picture
}

function words({from, to, chance}) {
  const between = to === from + 1 ? ' or ' : ' to '
  return `${from === to ? from : from + between + to} (${percent(chance)})`
}

function line(visitor, movie) {
  const p = chances(visitor, movie.i), likely = range(p)
  const row = make('tr'), name = make('td'), yours = make('td')
  const button = make('button', {type: 'button', text: movie.title, title: 'Rate this movie'})
  button.addEventListener('click', () => add(movie.i))
  name.append(button)
  yours.append(bars(p, likely), words(likely))
  row.append(name, make('td', {text: movie.stars.toFixed(1)}), yours)
  return row
}

function list(visitor, ratings, best) {
  const n = ratings.size
  $('list').tBodies[0].replaceChildren(...best.map(movie => line(visitor, movie)))
  $('basis').textContent = n ? `From ${count(n, 'rating')}. If you have seen one of these, select it and rate it, too.`
    : 'Without ratings, this is what everyone gets. If you have seen one of these, select it and rate it.'
}

function showButtons() {
  $('none').hidden = stars.size > 0
  $('forget').hidden = stars.size === 0
}


// --- the map

const centered = rows.map(row => data.center.map((center, k) => row[k + 1] - center))
const places = centered.map(factors => data.directions.map(direction => dot(direction, factors)))
const bounds = data.directions.map((_, axis) => {
  const values = places.map(place => place[axis])
  return [Math.min(...values), Math.max(...values)]
})
const sizes = bounds.map(([from, to]) => to - from)

// The visitor's place: what is special about their factors, in the same two directions
function placeOf(row) {
  const taste = row.slice(1).map((value, k) => value - data.prior[k + 1])
  return data.directions.map(direction => data.zoom*dot(direction, taste))
}

function map(visitor, ratings, best) {
  const box = $('map'), margin = 16, w = box.clientWidth, scale = (w - 2*margin)/sizes[0]
  const h = Math.round(scale*sizes[1] + 2*margin)
  const x = place => margin + scale*(place[0] - bounds[0][0]), y = place => h - margin - scale*(place[1] - bounds[1][0])
  const you = placeOf(visitor.row).map((value, axis) => Math.max(bounds[axis][0], Math.min(bounds[axis][1], value)))
  const picture = draw('svg', {viewBox: `0 0 ${w} ${h}`, width: w, height: h, role: 'img'})
  const top = new Set(best.map(movie => movie.i))
  const kind = i => ratings.has(i) ? 'rated' : top.has(i) ? 'best' : 'other'
  const center = [x([0, 0]), y([0, 0])]
  picture.append(draw('path', {class: 'axis', d: `M0 ${center[1]}H${w}M${center[0]} 0V${h}`}))
  const taken = [] // by labels, and by movies that are rated or recommended
  places.forEach((place, i) => {
    const special = kind(i) !== 'other', [left, up] = [x(place), y(place)]
    const point = draw('circle', {class: kind(i), cx: left, cy: up, r: special ? 4 : 2})
    point.append(draw('title', {text: data.titles[i]}))
    picture.append(point)
    if (special) taken.push({left: left - 4, right: left + 4, top: up - 4, bottom: up + 4})
  })
  picture.append(draw('path', {class: 'you', d: `M${center.join(' ')}L${x(you)} ${y(you)}`}))
  picture.append(draw('circle', {class: 'you', cx: x(you), cy: y(you), r: 6}))

  // Labels that fit: first yours, then rated and recommended movies, then those with the most ratings
  let labels = 0
  function label(text, place, style) {
    const wide = 7.4*text.length, onLeft = x(place) + 8 + wide > w
    const left = onLeft ? x(place) - 8 - wide : x(place) + 8
    const spot = {left, right: left + wide, top: y(place) - 7, bottom: y(place) + 7}
    const free = spot.left >= 0 && spot.top >= 0 && spot.bottom <= h &&
      taken.every(t => spot.right < t.left || t.right < spot.left || spot.bottom < t.top || t.bottom < spot.top)
    if (!free && style !== 'you') return
    taken.push(spot)
    labels++
    const anchor = {x: onLeft ? left + wide : left, 'text-anchor': onLeft ? 'end' : 'start'}
    picture.append(draw('text', {class: style, y: y(place) + 4, text, ...anchor}))
  }
  label('you', you, 'you')
  for (const i of [...ratings.keys(), ...top]) label(short(data.titles[i]), places[i], kind(i))
  for (const i of data.titles.keys()) {
    if (kind(i) === 'other' && labels < w/16) label(short(data.titles[i]), places[i], 'other')
  }

  const gains = [...places.keys()].sort((a, b) => dot(places[b], you) - dot(places[a], you))
  const names = movies => movies.map(i => short(data.titles[i])).join('; ')
  const sides = [you[0] < 0 ? 'left' : 'right', you[1] < 0 ? 'below' : 'above']
  const description = ratings.size ? `Your point is ${sides[0]} of the center, and ${sides[1]} it. ` +
    `In these two directions, these gain most for you: ${names(gains.slice(0, 3))}. These lose most: ${names(gains.slice(-3))}.`
    : 'Without ratings you are in the center. Your first rating will move you.'
  picture.setAttribute('aria-label', `A map of ${data.titles.length} movies. ${description}`)
  $('position').textContent = description
  box.replaceChildren(picture)
}


// --- the curve: error against the number of ratings

// The place of `n` ratings among data.known, and the error there
function onCurve(n) {
  const last = data.known.length - 1, k = Math.max(0, data.known.findLastIndex(known => known <= n))
  if (k === last) return [last, data.error[last]]
  const share = (n - data.known[k])/(data.known[k + 1] - data.known[k])
  return [k + share, data.error[k] + share*(data.error[k + 1] - data.error[k])]
}

function curve(n) {
  const box = $('curve'), w = box.clientWidth, h = Math.round(.62*w), all = [...data.error, ...data.baseline]
  const [bottom, top] = [Math.floor(20*Math.min(...all))/20, Math.ceil(20*Math.max(...all))/20]
  const last = data.known.length - 1
  const x = k => 44 + (w - 60)*k/last, y = error => 44 + (h - 90)*(top - error)/(top - bottom)
  const path = errors => 'M' + errors.map((error, k) => `${x(k)} ${y(error)}`).join('L')
  const picture = draw('svg', {viewBox: `0 0 ${w} ${h}`, width: w, height: h, role: 'img'})
  const write = (text, at, up, style, anchor = 'middle') =>
    picture.append(draw('text', {x: at, y: up, class: style, 'text-anchor': anchor, text}))
  for (let tick = bottom; tick < top + .01; tick += .05) {
    picture.append(draw('path', {class: 'axis', d: `M${x(0)} ${y(tick)}H${w}`}))
    write(tick.toFixed(2), 38, y(tick) + 4, 'tick', 'end')
  }
  data.known.forEach((known, k) => write(known, x(k), h - 28, 'tick'))
  write('known ratings', (x(0) + x(last))/2, h - 8, 'tick')
  write('error in stars', 2, 12, 'tick', 'start')
  picture.append(draw('path', {class: 'baseline', d: path(data.baseline)}),
                 draw('path', {class: 'model', d: path(data.error)}))
  write('mean and offset', x(last - 2), y(data.baseline[last - 2]) - 10, 'baseline', 'start')
  write('this page', x(last - .2), y(data.error[last]) + 14, 'model', 'end')
  const [k, error] = onCurve(n)
  picture.append(draw('path', {class: 'you', d: `M${x(k)} 36V${y(error)}`}),
                 draw('circle', {class: 'you', cx: x(k), cy: y(error), r: 6}))
  write('you are here', x(k), 32, 'you', k < 1 ? 'start' : k > last - 1 ? 'end' : 'middle')
  box.replaceChildren(picture)

  const known = n ? `with ${count(Math.min(n, data.known[last]), 'rating')}` : 'without ratings'
  const now = `For new users ${known}, the error of this page was ${error.toFixed(2)} stars.`
  const more = data.known.find(known => known > n && known >= 5)
  const then = more ? ` With ${count(more, 'rating')}, it was ${data.error[data.known.indexOf(more)].toFixed(2)}.` : ''
  picture.setAttribute('aria-label', `A falling curve. ${now}${then}`)
  $('gain').textContent = now + then
}


// --- all together

let ratings, visitor, best, drawn

function update() {
  ratings = rated()
  visitor = foldIn(ratings)
  best = recommend(visitor, ratings)
  list(visitor, ratings, best)
  say(`${count(ratings.size, 'rating')}. First recommendation: ${best[0].title}, ${best[0].stars.toFixed(1)} stars.`)
  pictures()
  showButtons()
  save()
}

// They are as wide as the page allows, so they are drawn again when that changes
function pictures() {
  drawn = $('map').clientWidth
  map(visitor, ratings, best)
  curve(ratings.size)
}

load()
$('app').hidden = false
for (const i of stars.keys()) $('rated').prepend(entry(i))
update()
$('static').hidden = true
new ResizeObserver(() => requestAnimationFrame(() => { if ($('map').clientWidth !== drawn) pictures() })).observe($('map'))

return {data, foldIn, predicted, chances, range, recommend}
})()
