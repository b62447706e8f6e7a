// The crosstab that fills: a slider over the steps of gradient descent in chapter 02.
// docs/filling.py computes the numbers in #filling-data.

(() => {
'use strict'

const $ = name => document.getElementById('filling' + name)
const data = JSON.parse($('-data').textContent)
const slider = $('-step'), [low, high] = data.range
const nRows = data.rows.length, nColumns = data.columns.length

function draw(tag, {text, ...attributes} = {}) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  if (text !== undefined) element.textContent = text
  return element
}


// --- the table: it is drawn once, and each step changes its colors and numbers

const longest = 8.2*Math.max(...data.columns.map(name => name.length)) // a title's length, about
const CELL = 36, LEFT = 44, TOP = 12 + Math.ceil(.77*longest) // units of the picture
const wide = LEFT + nColumns*CELL + Math.ceil(.64*longest) - CELL/2, tall = TOP + nRows*CELL + 4
const table = draw('svg', {viewBox: `0 0 ${wide} ${tall}`, role: 'img'})
data.rows.forEach((name, i) => table.append(
  draw('text', {class: 'name', x: LEFT - 6, y: TOP + CELL*(i + .62), 'text-anchor': 'end', text: name})))
data.columns.forEach((name, j) => table.append(
  draw('text', {class: 'name', transform: `translate(${LEFT + CELL*(j + .4)} ${TOP - 6}) rotate(-50)`, text: name})))
const cells = data.holes.map((hole, k) => {
  const x = LEFT + CELL*(k%nColumns), y = TOP + CELL*Math.floor(k/nColumns)
  const cell = {square: draw('rect', {x, y, width: CELL, height: CELL}),
                number: draw('text', {x: x + CELL/2, y: y + CELL*.62, 'text-anchor': 'middle'})}
  table.append(cell.square, cell.number)
  return cell
})
data.holes.forEach((hole, k) => {
  const x = LEFT + CELL*(k%nColumns), y = TOP + CELL*Math.floor(k/nColumns)
  if (hole) table.append(draw('rect', {class: 'frame-edge', x: x + 2, y: y + 2, width: CELL - 4, height: CELL - 4}),
                         draw('rect', {class: 'frame', x: x + 2, y: y + 2, width: CELL - 4, height: CELL - 4}))
})
$('-table').append(table)

function fill(frame) {
  frame.forEach((hundredths, k) => {
    const stars = hundredths/100, share = Math.min(1, Math.max(0, (stars - low)/(high - low)))
    cells[k].square.setAttribute('fill', data.colors[Math.round(share*(data.colors.length - 1))])
    cells[k].number.setAttribute('class', share < .48 ? 'on-dark' : 'on-light')
    cells[k].number.textContent = stars.toFixed(1)
  })
}


// --- the error of the known cells, on logarithmic axes

const W = 300, H = 260, ticks = [.1, .2, .5, 1, 2, 5, 10, 20]
const most = Math.max(...data.losses), least = Math.min(...data.losses), last = data.losses.length
const x = step => 44 + (W - 60)*Math.log(step + 1)/Math.log(last)
const y = loss => 30 + (H - 80)*Math.log(most/loss)/Math.log(most/least)
const error = draw('svg', {viewBox: `0 0 ${W} ${H}`, 'aria-hidden': true})
for (const tick of ticks.filter(tick => least <= tick && tick <= most)) {
  error.append(draw('path', {class: 'line', d: `M44 ${y(tick)}H${W - 10}`}),
               draw('text', {x: 38, y: y(tick) + 4, 'text-anchor': 'end', text: tick}))
}
for (const step of [0, 3, 10, 30, 100, last - 1]) {
  error.append(draw('text', {x: x(step), y: H - 32, 'text-anchor': 'middle', text: step}))
}
error.append(draw('text', {x: 2, y: 14, text: 'MSE of the known cells, stars²'}),
             draw('text', {x: (44 + W)/2, y: H - 10, 'text-anchor': 'middle', text: 'step'}),
             draw('path', {class: 'curve', d: 'M' + data.losses.map((loss, step) => `${x(step)} ${y(loss)}`).join('L')}))
const here = draw('circle', {class: 'here', r: 6})
error.append(here)
$('-error').append(error)


// --- the slider

function show() {
  const k = Number(slider.value), step = data.steps[k], loss = data.losses[step].toFixed(2)
  const stars = data.frames[k].map(hundredths => hundredths/100)
  const text = `step ${step}, mean squared error of the known cells ${loss}`
  fill(data.frames[k])
  here.setAttribute('cx', x(step))
  here.setAttribute('cy', y(data.losses[step]))
  $('-now').textContent = `${step}: MSE of the known cells ${loss}`
  slider.setAttribute('aria-valuetext', text)
  table.setAttribute('aria-label', `Predictions for ${nRows} users and ${nColumns} movies at ${text}. ` +
    `They range from ${Math.min(...stars).toFixed(1)} to ${Math.max(...stars).toFixed(1)} stars.`)
}

slider.addEventListener('input', show)
show()
const picture = $('').previousElementSibling.querySelector('.cell_output') // for readers without JavaScript
picture.hidden = true
for (const image of picture.querySelectorAll('img')) image.loading = 'lazy' // so it needn't be loaded
$('').hidden = false
})()
